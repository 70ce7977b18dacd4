#!/bin/sh
set -e
seq 1 20000 | sh compress.sh > packed
echo "METRIC bytes=$(($(wc -c < packed)))"
