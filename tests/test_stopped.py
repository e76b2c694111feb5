"""What a command says that is interrupted."""

import signal
import subprocess
import sys

import pytest

WAITS = """
import signal, sys, time
from irasim_env import console

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it

def wait(_):
    print("waits", flush=True)
    time.sleep(60)

sys.modules["waits"] = sys.modules["__main__"]
console.COMMANDS["wait"] = console.Command(summary="", run="waits:wait", resumes={resumes})
console.main(["wait"])
"""


@pytest.mark.parametrize("resumes", [True, False])
def test_a_command_that_is_interrupted_says_so_and_whether_it_goes_on(resumes):
    code = WAITS.format(resumes=resumes)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waits\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGINT
    assert errors.strip().splitlines() == [
        "irasim wait: stopped" + "; the same command goes on from what was saved" * resumes
    ]
