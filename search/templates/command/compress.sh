#!/bin/sh
LEVEL=1  # tune: 1..9

if [ "$1" = "-d" ]; then
    exec gzip -dc
fi
exec gzip -nc "-$LEVEL"
