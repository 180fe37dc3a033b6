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

PATH=$(cd "$BIN" && pwd):$PATH # mike starts mkdocs by its name
export PATH

if [ "$version" = dev ]; then
  mike deploy dev
  # the very first version deployed is what visitors of the bare address get
  mike list --json | grep -q '"latest"' || mike set-default dev
else
  mike deploy --update-aliases "$version" latest
  mike set-default latest
fi
echo "Version $version stands on the branch gh-pages; look at it with $BIN/mike serve, publish it with git push origin gh-pages"
