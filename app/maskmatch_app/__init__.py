"""The app in the browser: pages over the verbs of ``maskmatch_med.service``, and the routes that carry files."""
