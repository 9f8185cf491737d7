#!/bin/sh
# Finds a Python that can run tools/bootstrap.py, and runs it with these arguments.
# It uses nothing but the shell, so that a PATH with only make and Python is enough.

bootstrap="${0%/*}/bootstrap.py"

for python in python3 python3.14 python3.13 python3.12 python3.11 python; do
    # A name on PATH proves nothing: it may be too old, or a version manager's empty shim.
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        exec "$python" "$bootstrap" "$@"
    fi
done

if python=$(UV_PYTHON_DOWNLOADS=never uv python find --system '>=3.11' 2>/dev/null); then
    exec "$python" "$bootstrap" "$@"
fi

echo "wsrooms: no Python 3.11 or newer found; install one (Debian, Ubuntu: apt install python3 python3-venv) and run make again" >&2
exit 1
