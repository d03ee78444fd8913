"""A small study by local processes, by Dask's own workers and by a one-node SLURM on this machine: are the bits the same?

``python benchmarks/slurm.py FOLDER``, as root, with Debian's slurmctld, slurmd, slurm-client and munge installed. It starts
munged, slurmctld and slurmd with a configuration in FOLDER, and ends those that it started.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

STUDY = """
name: bits
seed: 1
sources:
  mice:
    from: simulation
    cohort: {animals: 3, test_animals: 0, tissues: [solid], diameter: [1 mm, 3 mm]}
    body: {voxel: 300 um}
    scan: {views: 60, supersampling: 1}
"""
SLURM = """
ClusterName=one
SlurmctldHost={host}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} CPUs={cores} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def start(folder: Path) -> list[subprocess.Popen[bytes]]:
    """The queue of one node; returns what was started."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    conf = folder / "slurm.conf"
    conf.write_text(SLURM.format(host=socket.gethostname().split(".")[0], folder=folder, cores=os.cpu_count()))
    (folder / "cgroup.conf").write_text("CgroupAutomount=no\nCgroupPlugin=cgroup/v1\n")
    os.environ["SLURM_CONF"] = str(conf)
    socket_file = folder / "munge.socket"
    conf.write_text(conf.read_text().replace("AuthType=auth/munge", f"AuthType=auth/munge\nAuthInfo=socket={socket_file}"))
    paths = {
        "socket": socket_file,
        "log-file": folder / "munge.log",
        "pid-file": folder / "munge.pid",
        "seed-file": folder / "seed",
    }
    munged = ["munged", "-F", "--force", *(f"--{k}={v}" for k, v in paths.items())]
    folder.chmod(0o755)
    begun = []
    for command in (munged, ["slurmctld", "-D", "-f", str(conf)], ["slurmd", "-D", "-f", str(conf)]):
        begun.append(subprocess.Popen(command))
        time.sleep(3)
    return begun


def run(folder: Path, *words: str) -> None:
    """One run of the study."""
    command = [sys.executable, "-m", "darklung", "run", str(folder.parent / "study.yaml"), "--out", str(folder), *words]
    subprocess.run(command, check=True)


def written(folder: Path) -> dict[str, tuple[str, dict[str, str]]]:
    """Task -> key and SHA-256 of everything that it wrote, of its record."""
    records = {p.parent: json.loads(p.read_text()) for p in folder.glob("*/*/record.json")}
    return {
        str(place.relative_to(folder)): (r["key"], {name: note["sha256"] for name, note in r["outputs"].items()})
        for place, r in records.items()
    }


def main(folder: Path) -> None:
    """Three runs and their comparison."""
    from dask_jobqueue import SLURMCluster

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.yaml").write_text(STUDY)
    run(folder / "local", "--workers", "2")
    run(folder / "dask", "--workers", "2", "--executor", "dask")
    begun = start(folder / "slurm-state")
    try:
        with SLURMCluster(
            cores=1, processes=1, memory="2GB", job_directives_skip=["--mem"], log_directory=str(folder)
        ) as cluster:
            cluster.scale(jobs=2)
            run(folder / "slurm", "--executor", "dask", "--scheduler", cluster.scheduler_address)
            print(subprocess.run(["squeue"], capture_output=True, text=True).stdout)
    finally:
        for process in reversed(begun):
            process.terminate()
            process.wait()
    wanted = written(folder / "local")
    for other in ("dask", "slurm"):
        found = written(folder / other)
        different = [name for name in wanted if found.get(name) != wanted[name]]
        outputs = sum(len(w[1]) for w in wanted.values())
        print(f"{other}: {len(wanted)} tasks, {outputs} outputs, different: {different or 'none'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
