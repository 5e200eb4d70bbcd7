"""An nvidia-smi that answers as the real one: forms seen on an H100, and NVIDIA's MIG guide."""

import os

PROGRAM = """#!/bin/sh
folder=$(dirname "$0")
case "$1" in
  -L) cat "$folder/list" ;;
  --query-gpu=uuid,memory.free) cat "$folder/memory" ;;
  *) echo "Invalid combination of input arguments." ; exit 2 ;;
esac
exit $(cat "$folder/exit_code")
"""


class FakeNvidiaSmi:
    """Shows the GPUs of this moment to every process that has its folder on the path."""

    def __init__(self, folder, monkeypatch):
        self._folder = folder
        folder.mkdir()
        program = folder / "nvidia-smi"
        program.write_text(PROGRAM)
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def show(self, *gpus):
        """Show GPUs given as (index, uuid, free MiB or text)."""
        cards = [f"GPU {index}: NVIDIA H100 80GB HBM3 (UUID: {uuid})" for index, uuid, _ in gpus]
        self.say("\n".join(cards), [f"{uuid}, {free}" for _, uuid, free in gpus])

    def say(self, listed, memory=(), exit_code=0):
        """Answer with exactly these texts."""
        (self._folder / "list").write_text(listed + "\n")
        (self._folder / "memory").write_text("\n".join(memory) + "\n")
        (self._folder / "exit_code").write_text(str(exit_code))
