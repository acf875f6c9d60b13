"""Runs one of the scripts that stand beside it, and ends at once when that has said everything.

run.py SCRIPT ARGUMENT…

A thread of pyarrow's may still be starting when Python takes everything down, and the process is aborted ("terminate called
without an active exception") although the script came to its end. What is tested are the files, not how a reader ends.
"""
import os
import runpy
import sys
import traceback

code = 0
script = sys.argv[1]
sys.argv = sys.argv[1:]
sys.path[0] = os.path.dirname(os.path.abspath(script))
try:
    runpy.run_path(script, run_name="__main__")
except SystemExit as end:
    if isinstance(end.code, str):
        print(end.code, file=sys.stderr)
    code = end.code if isinstance(end.code, int) else int(end.code is not None)
except BaseException:
    traceback.print_exc()
    code = 1
sys.stdout.flush()
sys.stderr.flush()
os._exit(code)
