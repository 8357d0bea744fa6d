"""Who works: the login of this computer until a name is given, and what the browser keeps of it."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import maskmatch_app
from maskmatch_app.shelf import FOLDER, STUDY

MAIN = Path(maskmatch_app.__file__).with_name("main.py")


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.delenv(STUDY, raising=False)
    return AppTest.from_file(str(MAIN), default_timeout=60).run()


def _scripts(app: AppTest) -> list[str]:
    bodies = [str(part.proto.body) for part in app.get("html")]
    return [body for body in bodies if "<script>" in body]


def test_the_login_stands_until_a_name_is_given(app: AppTest) -> None:
    assert app.sidebar.text_input[0].value == getpass.getuser()
    assert _scripts(app) == []


def test_a_name_is_one_line_and_the_browser_keeps_it(app: AppTest) -> None:
    app.sidebar.text_input[0].set_value("  Zoë\t</script>;  Ä ").run()
    assert not app.exception
    assert app.session_state["author"] == "Zoë </script>; Ä"
    (script,) = _scripts(app)
    assert "maskmatch_author=Zo%C3%AB%20%3C%2Fscript%3E%3B%20%C3%84; path=/" in script
    app.run()
    assert app.session_state["author"] == "Zoë </script>; Ä"


def test_on_a_network_nobody_is_called_by_the_login_of_the_server(
    app: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    import streamlit

    monkeypatch.setattr(streamlit, "get_option", {"server.address": "0.0.0.0"}.get)
    del app.session_state["author"]
    assert app.run().sidebar.text_input[0].value == ""
