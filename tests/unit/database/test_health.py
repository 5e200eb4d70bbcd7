"""What `ecgopt storage check` reads from the system."""

from pathlib import Path

from ecgopt.database.health import file_system_of

MOUNTS = """/dev/sda1 / ext4 rw 0 0
server:/export /home nfs4 rw 0 0
tmpfs /home/me/fast\\040disk tmpfs rw 0 0
"""


def test_the_file_system_is_that_of_the_nearest_mount():
    assert file_system_of(Path("/var/db"), MOUNTS) == "ext4"
    assert file_system_of(Path("/home/you/db"), MOUNTS) == "nfs4"
    assert file_system_of(Path("/home/me/fast disk/db"), MOUNTS) == "tmpfs"
