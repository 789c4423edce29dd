"""Functions run by two processes that know each other, as torchrun starts them."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import transformers

ROOT = Path(__file__).parents[1]
# Earlier ones shard models in another way, which is refused with a sentence.
needs_sharding = pytest.mark.skipif(
    tuple(map(int, transformers.__version__.split(".")[:2])) < (5, 23),
    reason=f"transformers {transformers.__version__} shards models in another way",
)
_CODE = """
import importlib, os, pickle, sys
module, name, folder = sys.argv[1:4]
arguments = pickle.loads(bytes.fromhex(sys.argv[4]))
found = getattr(importlib.import_module(module), name)(*arguments)
with open(os.path.join(folder, f"rank-{os.environ['RANK']}.pickle"), "wb") as file:
    pickle.dump(found, file)
"""


def in_two(function: Any, folder: Path, *arguments: Any, timeout: float = 240) -> list[Any]:
    """What a function of a module gives in each of two processes.

    The processes are told of each other by the environment alone; the function says what starts
    `torch.distributed`, as a user's script does.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = pickle.dumps(arguments).hex()
    command = [
        sys.executable, "-c", _CODE, function.__module__, function.__name__, str(folder), given,
    ]  # fmt: skip
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    processes = []
    for rank in range(2):
        told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
        told |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
        env = {**os.environ, **{k: str(v) for k, v in told.items()}}
        env["PYTHONPATH"] = os.pathsep.join(paths)
        processes.append(
            subprocess.Popen(
                command,
                cwd=ROOT,
                env=env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    said = []
    try:
        said = [process.communicate(timeout=timeout)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    failed = [text for p, text in zip(processes, said, strict=True) if p.returncode]
    assert not failed, "\n".join(text[-3000:] for text in failed)
    return [
        pickle.loads((folder / f"rank-{rank}.pickle").read_bytes())  # our own
        for rank in range(2)
    ]
