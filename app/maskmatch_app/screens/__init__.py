"""The pages, a short script each.

The folder must not be called ``pages``: Streamlit would run a script by itself, without ``main.py``, where its
address is opened first.
"""
