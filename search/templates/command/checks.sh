#!/bin/sh
set -e
seq 1 20000 > expected
sh compress.sh -d < packed > restored
cmp expected restored
