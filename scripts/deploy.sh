#!/bin/sh
# Publishes one version of the site on the branch gh-pages of this repository, without pushing it.
# Usage: make deploy VERSION=1.0; the version "dev" moves neither the alias "latest" nor the default.
set -eu
version=${1-}
stop() { printf '%s\n' "$@" >&2; exit 2; }

[ -n "$version" ] || stop 'Which version? make deploy VERSION=1.0'
case $version in
  latest) stop '"latest" is the alias of the newest release; name the release itself, as in VERSION=1.0' ;;
  *[!A-Za-z0-9._-]*) stop "A version is a folder's name: letters, digits, dots, dashes; not \"$version\"" ;;
esac
git rev-parse --verify --quiet HEAD >/dev/null ||
  stop 'There is no commit yet: a deployed version names the commit it was built from. Run git commit first.'
{ git config user.name && git config user.email; } >/dev/null ||
  stop 'Git does not know who you are, and the deployed version is a commit:' \
    '  git config user.name "Your Name" && git config user.email you@example.org'
[ -n "${SITE_URL-}" ] ||
  echo 'SITE_URL is not set, so canonical links point to localhost; for publishing: SITE_URL=https://... make deploy' >&2

[ "$version" = dev ] || [ -f "docs/about/releases/$version.json" ] ||
  echo "docs/about/releases/$version.json is missing, so the changelog cannot tell which numbers changed:" \
    "cp tests/numbers.json docs/about/releases/$version.json, and commit it" >&2

PATH=$(cd "$BIN" && pwd):$PATH # mike starts mkdocs by its name
VGDOCS_POSTERS=${VGDOCS_POSTERS:-require} # what is published has its figures, also without JavaScript
export PATH VGDOCS_POSTERS

if [ "$version" = dev ]; then
  mike deploy dev
  # the very first version deployed is what visitors of the bare address get
  mike list --json | grep -q '"latest"' || mike set-default dev
else
  mike deploy --update-aliases "$version" latest
  mike set-default latest
fi
# Hosts answer an address that is in no version with the page at the root; a release's leads into the latest version.
missing=$(git rev-parse --verify --quiet "gh-pages:$version/404.html" || true)
if [ "$version" != dev ] && [ -n "$missing" ]; then
  GIT_INDEX_FILE=$(git rev-parse --absolute-git-dir)/index-of-404
  export GIT_INDEX_FILE
  git read-tree gh-pages
  git update-index --add --cacheinfo "100644,$missing,404.html"
  git update-ref refs/heads/gh-pages \
    "$(git commit-tree -p gh-pages -m "Take the page of $version for what is not found" "$(git write-tree)")"
  rm -f "$GIT_INDEX_FILE"
  unset GIT_INDEX_FILE
fi

echo "Version $version stands on the branch gh-pages; look at it with $BIN/mike serve, publish it with git push origin gh-pages"
