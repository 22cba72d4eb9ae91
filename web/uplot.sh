#!/bin/sh
# uplot.sh NPM WORK OUT PACKAGE.JSON PACKAGE-LOCK.JSON NPMRC: uPlot's files into OUT, fetched below
# WORK, so that the source tree stays as it is. npm compares what it fetches with the lock file's
# hash, and runs no scripts of the package.
set -eu
npm=$1 work=$2 out=$3
mkdir -p "$work"
cp "$4" "$5" "$work/"
cp "$6" "$work/.npmrc"
if ! (cd "$work" && "$npm" ci --prefer-offline --ignore-scripts --no-audit --no-fund) \
        >"$work/npm.log" 2>&1; then
    cat "$work/npm.log" >&2
    echo "npm could not fetch uPlot. 'meson configure BUILD -Dweb=disabled' leaves the page out." >&2
    exit 1
fi
from=$work/node_modules/uplot
cp "$from/dist/uPlot.iife.min.js" "$out/uplot.js"
cp "$from/dist/uPlot.min.css" "$out/uplot.css"
cp "$from/LICENSE" "$out/uplot-license.txt"
