"""Publishes one version of the site on the branch gh-pages of this repository, without pushing it.

Usage: python scripts/deploy.py 1.0

`latest`, and what visitors of the bare address get, is the highest final release by PEP 440, in whatever order versions
are deployed. Whatever goes wrong, gh-pages is afterwards what it was before.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from filelock import FileLock, Timeout
from mike.git_utils import Commit, FileInfo, GitError, read_file
from packaging.version import InvalidVersion, Version

from repository import git, must, stop, tell

BRANCH = "gh-pages"
REF = f"refs/heads/{BRANCH}"
BIN = Path(sys.executable).parent


def mike(*arguments: str) -> None:
    path = os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath)])  # mike starts mkdocs by its name
    environment = os.environ | {"PATH": path}
    # what is published has its figures, also without JavaScript
    environment.setdefault("VGDOCS_POSTERS", "require")
    result = subprocess.run([sys.executable, "-c", "from mike.driver import main; main()", *arguments], env=environment)
    if result.returncode:
        stop(f"mike {arguments[0]} failed; the branch {BRANCH} is left as it was")


def release(name: str) -> Version | None:
    try:
        return Version(name)
    except InvalidVersion:
        return None


def final(name: str) -> Version | None:
    version = release(name)
    return version if version and not version.is_prerelease else None


def published() -> dict[str, list[str]]:
    """Each version on the branch, with its aliases."""
    listed = git("show", f"{BRANCH}:versions.json")
    return {entry["version"]: entry["aliases"] for entry in json.loads(listed)} if listed else {}


def check_name(version: str) -> None:
    if not version:
        stop("Which version? make deploy VERSION=1.0, or python scripts/deploy.py 1.0")
    if version == "latest":
        stop('"latest" is the alias of the highest release; name the release itself, as in 1.0')
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", version):
        stop(f'A version is a folder\'s name: letters, digits, dots, dashes; not "{version}"')


def check_repository() -> None:
    if git("rev-parse", "--verify", "--quiet", "HEAD") is None:
        stop("There is no commit yet: a deployed version names the commit it was built from. Run git commit first.")
    if not (git("config", "user.name") and git("config", "user.email")):
        stop(
            "Git does not know who you are, and the deployed version is a commit:",
            '  git config user.name "Your Name"',
            "  git config user.email you@example.org",
        )
    if changes := git("status", "--porcelain"):
        stop(
            "These files are not committed, and a deployed version names the commit it was built from:",
            changes,
            "Commit them, or lay them aside with git stash --include-untracked.",
        )
    for block in must("worktree", "list", "--porcelain").split("\n\n"):
        if f"branch {REF}" in block.splitlines():
            place = block.splitlines()[0].removeprefix("worktree ")
            stop(
                f"{BRANCH} is checked out in the work tree {place}, whose next commit would take the version back.",
                f'Run git -C "{place}" switch --detach first (or git worktree prune, if the folder is gone).',
            )


def find_remote() -> str | None:
    """The remote to push to: the current branch's, or origin, or the only one."""
    remotes = must("remote").split()
    branch = git("symbolic-ref", "--short", "HEAD")
    for name in (branch and git("config", f"branch.{branch}.remote"), "origin"):
        if name in remotes:
            return name
    return remotes[0] if len(remotes) == 1 else None


def bring_up_to_date(remote: str) -> None:
    """Make gh-pages what the remote has, and what was deployed here since."""
    theirs = f"refs/remotes/{remote}/{BRANCH}"
    fetch = ["fetch", "--quiet", remote, f"+{REF}:{theirs}"]
    heads = git("ls-remote", "--heads", remote, REF)
    if heads and git(*fetch) is None:
        stop(f"{remote} has a branch {BRANCH} that could not be fetched: git {' '.join(fetch)}")
    fetched = git("rev-parse", "--verify", "--quiet", theirs)
    if heads is None:
        if fetched is None and must("rev-parse", "--is-shallow-repository") == "true":
            stop(
                f"{remote} can't be reached, and this shallow clone doesn't know which versions stand there. Run",
                f"  git {' '.join(fetch)}",
            )
        tell(f"{remote} can't be reached; this goes by what was fetched from it last")
    if heads == "" or fetched is None:
        return
    if git("rev-parse", "--verify", "--quiet", REF) is None or git("merge-base", "--is-ancestor", REF, theirs) == "":
        must("update-ref", REF, theirs)
    elif git("merge-base", "--is-ancestor", theirs, REF) is None:
        stop(
            f"{BRANCH} here and on {remote} have each a version that the other lacks. To go on from theirs, run",
            f"  git branch --force {BRANCH} {remote}/{BRANCH}",
            "and deploy again what was deployed here and isn't there.",
        )


def address() -> None:
    """Leave in SITE_URL the address under which the versions' folders lie."""
    url = os.environ.get("SITE_URL", "").rstrip("/")
    if url:
        os.environ["SITE_URL"] = url.removesuffix("/latest").rstrip("/") + "/"
    else:
        tell("SITE_URL is not set, so canonical links point to localhost; set it to the site's address for publishing")


def take_404(version: str) -> None:
    """Put the page of `version` at the root, where hosts look for it when an address is in no version."""
    try:
        page = read_file(BRANCH, f"{version}/404.html")
    except GitError:
        return
    with Commit(BRANCH, f"Take the page of {version} for what is not found", allow_empty=True) as made:
        made.add_file(FileInfo("404.html", page))


def deploy(version: str) -> None:
    there = published()
    for other in there:
        if other != version and release(other) is not None and release(other) == release(version):
            stop(f"{version} is the release that stands there as {other}; deploy it under that name")
    finals = [name for name in {*there, version} if final(name)]
    highest = max(finals, key=Version) if finals else None
    commit = must("rev-parse", "HEAD")

    options = ["--ignore-remote-status", "--allow-empty"]
    if version == highest:
        mike("deploy", *options, "--update-aliases", version, "latest")
    else:
        mike("deploy", *options, version)
    if git("status", "--porcelain") or must("rev-parse", "HEAD") != commit:
        stop("Something was edited while the site was built, so nothing is published. Commit it and deploy again.")

    aliases = published()
    if highest and "latest" not in aliases[highest]:
        mike("alias", *options, "--update-aliases", highest, "latest")
    if highest:
        mike("set-default", *options, "latest")
        take_404(highest)
    elif not there:
        mike("set-default", *options, version)


def main(version: str) -> None:
    check_name(version)
    check_repository()
    lock = FileLock(Path(must("rev-parse", "--path-format=absolute", "--git-common-dir"), "vgdocs-deploy.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        stop("Another version is being deployed from this repository. Try again when it is done.")
    with lock:
        remote = find_remote()
        if remote:
            bring_up_to_date(remote)
        address()
        if final(version) and not Path(f"docs/about/releases/{version}.json").exists():
            tell(
                f"docs/about/releases/{version}.json is missing, so the changelog cannot tell which numbers changed: "
                "copy tests/numbers.json to it, and commit it"
            )
        before = git("rev-parse", "--verify", "--quiet", REF)
        try:
            deploy(version)
        except BaseException:
            git(*(("update-ref", REF, before) if before else ("update-ref", "-d", REF)))
            raise
    if remote:
        then = f"publish it with git push {remote} {BRANCH}"
    elif remotes := must("remote").split():
        then = f"publish it with git push and one of {', '.join(remotes)}, and {BRANCH}"
    else:
        then = f"there is no remote yet to push it to: git remote add NAME ADDRESS, then git push NAME {BRANCH}"
    print(f"Version {version} stands on the branch {BRANCH}; look at it with {BIN / 'mike'} serve; {then}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) == 2 else "")
