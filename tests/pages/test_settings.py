"""The plugin's options: kept to by every command, and checked with a message that says what they take."""

import markdown
import pytest

from vgdocs.engine.figure import SettingError
from vgdocs.pages.settings import Settings, read

PLUGIN = "site_name: One\nplugins:\n  - search\n  - vgdocs:\n      {}\n"


@pytest.fixture
def elsewhere(project):
    """A project whose figures lie in a folder of another name."""
    project.figures.rename(project.root / "plots")
    project.edit(project.root / "mkdocs.yml", "  - vgdocs\n", "  - vgdocs:\n      figures: plots\n")
    project.page("index", "It is [[halving.first]].\n\n/// figure | halving\nA caption.\n///\n")
    return project


def test_what_mkdocs_yml_names(tmp_path):
    assert read(tmp_path) == Settings()
    (tmp_path / "mkdocs.yml").write_text(PLUGIN.format("figures: plots/new\n      time_limit: 5"))
    assert read(tmp_path) == Settings(figures="plots/new", time_limit=5)
    (tmp_path / "mkdocs.yml").write_text("site_name: !ENV [NAME, One]\nplugins: [vgdocs]\n")
    assert read(tmp_path) == Settings()
    (tmp_path / "mkdocs.yml").write_text("plugins:\n  search:\n  vgdocs:\n    figures: plots\n")  # MkDocs takes it
    assert read(tmp_path) == Settings(figures="plots")


def test_a_file_that_is_no_yaml_is_told(call, project):
    (project.root / "mkdocs.yml").write_text("plugins: [[[")
    code, _, errors = call("numbers")
    assert code == 1
    assert f"{project.root / 'mkdocs.yml'} is no YAML: " in errors
    assert "line 1, column 13" in errors


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("figurs: plots", "the plugin vgdocs has no option 'figurs'; did you mean figures?"),
        ("figures: ../plots", "figures of the plugin vgdocs is '../plots': it takes a folder inside the project"),
        ("figures: 3", "figures of the plugin vgdocs is 3: it takes a folder inside the project"),
        ("time_limit: 0", "time_limit of the plugin vgdocs is 0: it takes seconds, above zero"),
        ("time_limit: yes", "time_limit of the plugin vgdocs is True: it takes seconds, above zero"),
        ("page_limit: .inf", "page_limit of the plugin vgdocs is inf: it takes a size in MB, above zero"),
        ("posters: always", "posters of the plugin vgdocs is 'always': it takes auto or require or never"),
    ],
)
def test_what_makes_no_sense(tmp_path, option, message):
    (tmp_path / "mkdocs.yml").write_text(PLUGIN.format(option))
    with pytest.raises(SettingError) as caught:
        read(tmp_path)
    assert message in str(caught.value)


def test_the_environment_is_checked_too(monkeypatch):
    monkeypatch.setenv("VGDOCS_POSTERS", "maybe")
    with pytest.raises(SettingError, match="VGDOCS_POSTERS is 'maybe': it takes auto or require or never"):
        Settings()


def test_every_command_looks_where_the_option_says(elsewhere, call):
    code, output, _ = call("run")
    assert (code, "1 figure, 1 claim, 0 failed" in output) == (0, True), output
    code, output = elsewhere.mkdocs("build", "--strict")
    assert code == 0, output
    assert 'value="0.5"' in (elsewhere.site / "index.html").read_text()
    assert call("check", str(elsewhere.site))[0] == 0
    assert "plots/another.py is written." in call("new", "another")[1]


def test_the_extension_alone_looks_there_too(elsewhere):
    options = {"vgdocs.markdown": {"root": str(elsewhere.root)}}
    html = markdown.markdown("It is [[halving.first]].", extensions=["vgdocs.markdown"], extension_configs=options)
    assert 'value="0.5"' in html


def test_a_figure_that_takes_longer_than_the_option_allows_is_stopped(elsewhere, call):
    elsewhere.edit(elsewhere.root / "mkdocs.yml", "figures: plots\n", "figures: plots\n      time_limit: 0.5\n")
    elsewhere.edit(
        elsewhere.root / "plots/halving.py", "    left = [", "    __import__('time').sleep(60)\n    left = ["
    )
    code, _, errors = call("run")
    assert (code, "hangs: stopped after 0.5 s" in errors) == (1, True), errors


def test_pytest_keeps_to_them_too(elsewhere, pytester):
    pytester.makeini("[pytest]\nvgdocs_figures = plots\n")
    result = pytester.runpytest("--rootdir", str(elsewhere.root), "-c", "tox.ini", str(elsewhere.root))
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("option", ["figurs: plots", "posters: always", "time_limit: soon"])
def test_the_build_tells_a_wrong_option_without_a_traceback(project, option):
    project.edit(project.root / "mkdocs.yml", "  - vgdocs\n", f"  - vgdocs:\n      {option}\n")
    code, output = project.mkdocs("build", "--strict")
    assert code == 1
    assert option.partition(":")[0] in output
    assert "Traceback" not in output
