"""Data that several test files share, and a loopback for machines without one."""

import contextlib
import socket
import struct
import sys

import pytest

from vaelib.data import load

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1  # from linux/sockios.h, if.h
INTERFACE = struct.Struct("16sH14x")  # struct ifreq: a name and its flags


def pytest_configure():
    """Switch the loopback on where it is off, as it is after `unshare -n`.

    With the network cut off like that, notebooks could not reach their own kernels.
    """
    if sys.platform != "linux":
        return
    import fcntl

    with contextlib.suppress(OSError), socket.socket() as channel:
        answer = fcntl.ioctl(channel, SIOCGIFFLAGS, INTERFACE.pack(b"lo", 0))
        name, flags = INTERFACE.unpack(answer)
        if not flags & IFF_UP:
            fcntl.ioctl(channel, SIOCSIFFLAGS, INTERFACE.pack(name, flags | IFF_UP))


@pytest.fixture(scope="session")
def mnist_train():
    """The images and labels that MNIST trains with; not to be changed."""
    return load("mnist")


@pytest.fixture(scope="session")
def mnist_test():
    """The images and labels that MNIST tests with; not to be changed."""
    return load("mnist", train=False)


@pytest.fixture
def verdict(capsys):
    """A function that runs an exercise's check and returns what it printed."""

    def run(check, *arguments):
        check(*arguments)
        return capsys.readouterr().out

    return run
