#!/bin/sh
# Fetch the chart library from the npm registry, check it, and put it here with its licence. Usage: sh fetch.sh
set -eu
version=6.1.0
integrity=q0yaFPggC9FUdsWH4blavRWFmxdrIodbkoKNAjJudAI6CA9gNPxHtV2RcZNEepZVlk4yvBYkOkbk6HIVpIyHZA==
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
curl -fsSL "https://registry.npmjs.org/echarts/-/echarts-$version.tgz" -o "$work/echarts.tgz"
found=$(openssl dgst -sha512 -binary "$work/echarts.tgz" | openssl base64 -A)
if [ "$found" != "$integrity" ]; then
  echo "echarts $version: expected the SHA-512 $integrity, got $found; nothing was changed" >&2
  exit 1
fi
tar -xzf "$work/echarts.tgz" -C "$work"
cp "$work/package/dist/echarts.min.js" "$work/package/LICENSE" "$work/package/NOTICE" "$here"
