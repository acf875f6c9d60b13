#!/bin/sh
# Refreshes src/api/graphiql/vendor from the npm registry: GraphiQL and React as their makers built them, packed with
# gzip so that the same input gives the same bytes. Change a version here, run, look at the page, commit.
set -eu

GRAPHIQL=3.9.0
REACT=18.3.1

vendor=$(cd "$(dirname "$0")/.." && pwd)/src/api/graphiql/vendor
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# npm pack checks the registry's integrity hash of each package.
for package in "graphiql@$GRAPHIQL" "react@$REACT" "react-dom@$REACT"; do
    name=${package%@*}
    npm pack --silent "$package" >/dev/null
    mkdir "$name"
    tar -xzf "$name-${package##*@}.tgz" -C "$name" --strip-components=1
done

mkdir -p "$vendor"
for file in graphiql/graphiql.min.js graphiql/graphiql.min.css \
            react/umd/react.production.min.js react-dom/umd/react-dom.production.min.js; do
    # A source map is fetched by the developer tools of a browser; there is none to fetch here.
    sed -e '/^\/\/# sourceMappingURL=/d' "$file" | gzip -9n >"$vendor/$(basename "$file").gz"
done
for package in graphiql react; do
    cp "$package/LICENSE" "$vendor/LICENSE-$package"
done
(cd "$vendor" && sha256sum -- *.gz LICENSE-* >SHA256SUMS)
ls -l "$vendor"
