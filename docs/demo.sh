#!/bin/sh
# Shows everything on a new project: copy the template, set the project up, run its notebook, commit it, and, if a
# container engine answers, build and run the image.
# Usage: BIN=<folder with copier> sh docs/demo.sh PROJECT     (PROJECT is replaced)
set -eu

template=$PWD
export MAKEFLAGS=--no-print-directory
project=${1:?usage: demo.sh PROJECT}
export GIT_AUTHOR_NAME="Demo" GIT_AUTHOR_EMAIL="demo@example.org"
export GIT_COMMITTER_NAME="Demo" GIT_COMMITTER_EMAIL="demo@example.org"

step() { printf '\n\033[1m== %s\033[0m\n' "$1"; }
show() { printf '$ %s\n' "$*"; "$@"; }

step "1. Make a project"
rm -rf "$project"
show "$BIN/copier" copy --quiet --defaults --vcs-ref HEAD "$template" "$project"
cd "$project"
show git init --quiet --initial-branch main
show git add .
show git commit --quiet --message "Start the project"

step "2. Install exactly what the lock says, and the git hooks"
show make setup

step "3. Run the notebook, so that it contains a table, a plot and execution counts"
show .venv/bin/jupyter execute --inplace notebooks/quickstart.ipynb

step "4. Commit it: the hook removes the outputs and stops the commit"
if show git commit --all --quiet --message "Run the notebook"; then
  echo "The hook let the outputs through." >&2
  exit 1
fi

step "5. Change a word and commit again: this time there is nothing to remove"
sed -i.bak 's/then replace it with your own/then make it yours/' notebooks/quickstart.ipynb
rm notebooks/quickstart.ipynb.bak
show git add --update
show git commit --message "Make the notebook ours"
if git show HEAD:notebooks/quickstart.ipynb | grep -q '"output_type"'; then
  echo "The commit contains an output." >&2
  exit 1
fi

step "6. Run the tests and the notebook"
show make test

step "7. Build the production image and run it: no root, no writing, no capabilities"
engine=${ENGINE:-$(command -v docker || command -v podman || echo docker)}
if ! $engine info >/dev/null 2>&1; then
  image="The image was not built: no container engine answered."
elif ! show make image; then
  image="THE IMAGE WAS NOT BUILT: the engine said why above."
elif ! show make run; then
  image="THE IMAGE WAS BUILT BUT DID NOT RUN: see above."
else
  image="The image was built and it ran."
fi

step "Done"
echo "A project with $(git ls-files | wc -l | tr -d ' ') files is in $project. The notebook ran, and none of its outputs are in git."
echo "$image"
echo "Next: cd $project && make lab"
