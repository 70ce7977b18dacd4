"""A seccomp filter that refuses system calls which no candidate needs and attacks use.

``program`` builds it as classic BPF for x86_64 and aarch64; ``install`` applies it to every thread of this process, and
children inherit it. A refused call fails with EPERM; ``clone3``, ``memfd_create`` and ``mincore`` fail with ENOSYS,
because libraries then fall back to ``clone``, a temporary file and ``msync``. Advice on files in memory is answered
with success and ignored, and so are handlers of SIGCHLD. Numbers are from the kernel's asm/unistd.h; the filter checks
a call's architecture and refuses 32-bit and x32 calls.
"""

from __future__ import annotations

import errno
import os
import struct

from .system import Bytes, error_number, process_control, system_call

TYPE_CHECKING = False  # as typing has it, which takes as long to import as an interpreter to start
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    # Name -> numbers on x86_64 and on aarch64 (None: no such call).
    Syscalls = Mapping[str, tuple[int | None, int | None]]

_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column of the tables below, AUDIT_ARCH_*

TRACING: Syscalls = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "perf_event_open": (298, 241),
    "lookup_dcookie": (212, 18),
}
KEYRINGS: Syscalls = {"keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218)}
KERNEL_SURFACE: Syscalls = {
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    "syslog": (103, 116),
    "acct": (163, 89),
    "fanotify_init": (300, 262),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
}
MOUNTS: Syscalls = {
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467),
    "statmount": (457, 457),
    "listmount": (458, 458),
}
NAMESPACES: Syscalls = {"unshare": (272, 97), "setns": (308, 268)}
MACHINE: Syscalls = {
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "iopl": (172, None),
    "ioperm": (173, None),
    "vhangup": (153, 58),
}
# A slot's cores, and its share of them, are fixed.
SCHEDULING: Syscalls = {
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "ioprio_set": (251, 30),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
}
# Memory that no process maps, which measuring processes misses.
UNMAPPED_MEMORY: Syscalls = {
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgctl": (71, 187),
    "semget": (64, 190),
    "semctl": (66, 191),
    "mq_open": (240, 180),
}
# State that the kernel keeps for all sandboxes: writing back files, asynchronous requests, of which there are few, free
# space of every file system by its number, and where pages of files shall lie, which it remembers with the file.
COMMON_STATE: Syscalls = {
    "sync": (162, 81),
    "syncfs": (306, 267),
    "sync_file_range": (277, 84),
    "process_madvise": (440, 440),
    "io_setup": (206, 0),
    "ustat": (136, None),
    "mbind": (237, 235),
    "set_mempolicy_home_node": (450, 450),
}
# Without a network namespace. Pairs of connected stream sockets are allowed: they cannot reach other addresses.
SOCKETS: Syscalls = {"socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201)}
# Who opens, makes and removes files. Without a mount namespace these would show names of files elsewhere.
NOTICES: Syscalls = {"inotify_init": (253, None), "inotify_init1": (294, 26), "inotify_add_watch": (254, 27)}
# Landlock does not cover these, which would reach all files of the user that a candidate shares.
METADATA: Syscalls = {
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "removexattrat": (466, 466),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "truncate": (76, 45),
    "file_setattr": (469, 469),
}
ABSENT: Syscalls = {
    "clone3": (435, 435),  # its flags lie in memory, which a filter cannot read
    "pidfd_open": (434, 434),  # a machine's counter of processes is the number of its inode
    # Waiting at addresses; of ``futex`` the arguments tell whether others could wait there, too.
    "futex_waitv": (449, 449),
    "futex_wake": (454, 454),
    "futex_wait": (455, 455),
    "futex_requeue": (456, 456),
}
# Which pages of files are in memory; programs that ask to learn whether an address is valid have another way.
RESIDENCY: Syscalls = {"mincore": (27, 232), "cachestat": (451, 451)}
# Advice on pages of files in memory, which promises nothing: answered with success and not passed on.
ADVICE: Syscalls = {"fadvise64": (221, 223), "readahead": (187, 213)}
MEMORY_FILES: Syscalls = {"memfd_create": (319, 279)}
# Free memory and the number of threads of the whole machine, which tell what goes on in other sandboxes.
MACHINE_NUMBERS: Syscalls = {"sysinfo": (99, 179)}
# Other programs and processes; ``clone`` is left to threads: see ``_conditions``.
CHILDREN: Syscalls = {"fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281)}
# What takes its inode numbers from a counter of the whole machine, which others can read at their own pipes.
COUNTED_INODES: Syscalls = {
    "pipe": (22, None),
    "pipe2": (293, 59),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "accept": (43, 202),
    "accept4": (288, 242),
}
# What is counted for a user, whose other sandboxes notice when a limit is reached: watches, and descriptors on the way.
COUNTED_FOR_USERS: Syscalls = {
    "epoll_create": (213, None),
    "epoll_create1": (291, 20),
    "sendmsg": (46, 211),
    "sendmmsg": (307, 269),
}
EVERYWHERE = (TRACING, KEYRINGS, KERNEL_SURFACE, MOUNTS, NAMESPACES, MACHINE, SCHEDULING, COMMON_STATE, NOTICES)

# Refused depending on arguments: see ``_conditions``.
BY_ARGUMENT: Mapping[str, tuple[int, int]] = {
    "clone": (56, 220),
    "fcntl": (72, 25),
    "futex": (202, 98),
    "get_mempolicy": (239, 236),
    "getsockopt": (55, 209),
    "madvise": (28, 233),
    "membarrier": (324, 283),
    "mmap": (9, 222),
    "prctl": (157, 167),
    "preadv2": (327, 286),
    "pwritev2": (328, 287),
    "ioctl": (16, 29),
    "personality": (135, 92),
    "setpriority": (141, 140),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "socketpair": (53, 199),
    "socket": (41, 198),
    "prlimit64": (302, 261),
    "rt_sigaction": (13, 134),
    "setsockopt": (54, 208),
}

_THREAD = 0x00010000  # CLONE_THREAD
_NEW_NAMESPACES = 0x7E020000  # CLONE_NEWNS, _NEWCGROUP, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET
_PIDFD = 0x1000  # CLONE_PIDFD: see pidfd_open
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C  # simulate terminal input
_PERSONALITY_QUERY = 0xFFFFFFFF
_SOCK_TYPE, _SOCK_STREAM = 0xF, 1
_FIRST_OF_LINUX, _DUPFD_CLOEXEC, _GET_SEALS = 1024, 1030, 1034  # fcntl: 1024 and above are leases, notices and hints
_MERGEABLE, _COLD, _PAGEOUT, _COLLAPSE = 12, 20, 21, 25  # madvise: these change pages that other sandboxes map, too
_PR_SET_MEMORY_MERGE = 67
_MPOL_OF_PAGES = 0x3  # get_mempolicy: of a page, not of this process
_MAP_HUGETLB = 0x40000  # mmap: huge pages that the machine has set aside, a number that all share
_OF_ALL_PROCESSES = (1, 2, 4)  # membarrier: MEMBARRIER_CMD_GLOBAL and its like, which interrupt other cores
_SO_COOKIES = (57, 71)  # getsockopt: numbers that count all sockets and namespaces of the machine
_SO_PASSPIDFD, _SO_PEERPIDFD = 76, 77
_FUTEX_PRIVATE, _FUTEX_COMMAND, _FUTEX_WAITS = 0x80, 0x7F, (0, 9, 11)  # FUTEX_WAIT, _WAIT_BITSET, _WAIT_REQUEUE_PI
_RWF_KNOWN = 0x17  # preadv2: HIPRI, DSYNC, SYNC, APPEND; not NOWAIT and DONTCACHE, which tell and drop cached pages
_SIGCHLD = 17  # who ignores it has children that nobody waits for, whose CPU time is then counted nowhere
_FAMILIES, _NETLINK, _ROUTE = (1, 2, 10), 16, 0  # AF_UNIX, AF_INET, AF_INET6; netlink lists a namespace's interfaces
_X32 = 0x40000000
_UNKNOWN = 470
"""First number of system calls that this table does not know, the same on all architectures."""

_LD, _AND = 0x20, 0x54  # load a word of struct seccomp_data; bitwise and with a constant
_JEQ, _JGE, _JSET, _RET = 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000

_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_SET_MODE_FILTER = 1
_TSYNC, _SPEC_ALLOW = 1, 4  # all threads; keep speculative execution, which older kernels otherwise slow down

Instruction = tuple[int, int, int, int]
"""struct sock_filter: code, instructions to skip if true, if false, constant."""


class Unconfinable(OSError):
    """The kernel or the machine lacks a feature needed to confine a candidate; the message names it."""


class FilterOptions:
    """System calls to refuse in addition to ``EVERYWHERE``."""

    def __init__(
        self,
        unmapped_memory: bool = True,
        sockets: bool = False,
        other_processes: bool = False,
        metadata: bool = False,
        judged: bool = False,
        machine_numbers: bool = False,
        shared_waits: bool = False,
    ) -> None:
        """``unmapped_memory``: memory files, System V memory, queues; not with a GPU, whose libraries need them.

        ``sockets``: all but pairs of stream sockets, for sandboxes without a network namespace. ``other_processes``:
        their limits and shared segments, for sandboxes without such namespaces. ``metadata``: modes, owners, times and
        attributes of files, for candidates whose user owns files outside. ``judged``: processes, programs and,
        without a GPU, pipes and sockets, where a program is shown evaluation text: its computing is its own, and it has
        nobody to talk to.
        ``machine_numbers``: free memory and the number of processes; not where programs fit themselves to the memory.
        ``shared_waits``: to wait asleep at an address (futex) that others can reach, as pages of a library are the
        same for all sandboxes. Who waits there for another process or for the end of a thread waits computing.
        """
        self.unmapped_memory = unmapped_memory
        self.sockets = sockets
        self.other_processes = other_processes
        self.metadata = metadata
        self.judged = judged
        self.machine_numbers = machine_numbers
        self.shared_waits = shared_waits


def install(options: FilterOptions) -> None:
    """Apply the filter to all threads of this process, irreversibly. Raises Unconfinable if the kernel refuses it."""
    machine = os.uname().machine
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program(options, machine))
    place = Bytes(code)
    described = struct.pack(
        "@HP", len(code) // 8, place.address
    )  # struct sock_fprog: a 16-bit count, padding, a pointer
    forbid_new_privileges()
    if system_call(_SECCOMP[machine], _SET_MODE_FILTER, _TSYNC | _SPEC_ALLOW, described) != 0:
        problem = os.strerror(error_number())
        raise Unconfinable(f"the kernel refused a seccomp filter ({problem}); expected CONFIG_SECCOMP_FILTER")


def forbid_new_privileges() -> None:
    """Make setuid bits ineffective for this process and its children. Raises Unconfinable."""
    if process_control(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise Unconfinable(f"no_new_privs was refused: {os.strerror(error_number())}")


def program(options: FilterOptions, machine: str) -> list[Instruction]:
    """Build the filter's instructions. Raises Unconfinable for an unknown architecture."""
    if machine not in _MACHINES:
        raise Unconfinable(f"the system calls of {machine} are not known here; expected {' or '.join(_MACHINES)}")
    column, architecture = _MACHINES[machine]
    code = [_load(_ARCHITECTURE), (_JEQ, 1, 0, architecture), _refuse(), _load(_NUMBER)]
    if machine == "x86_64":
        code += [(_JGE, 0, 1, _X32), _refuse()]
    code += [(_JGE, 0, 1, _UNKNOWN), _refuse(errno.ENOSYS)]
    absent: list[Syscalls] = [ABSENT, RESIDENCY]
    refused: list[Syscalls] = [*EVERYWHERE]
    if options.unmapped_memory:
        absent.append(MEMORY_FILES)
    if options.unmapped_memory or options.other_processes:
        refused.append(UNMAPPED_MEMORY)  # also a way to reach other processes
    if options.sockets:
        refused.append(SOCKETS)
    if options.metadata:
        refused.append(METADATA)
    if options.machine_numbers:
        refused.append(MACHINE_NUMBERS)
    if options.judged:
        refused.append(CHILDREN)
    if options.judged and options.unmapped_memory:  # the libraries of a GPU open pipes and sockets
        refused += [COUNTED_INODES, COUNTED_FOR_USERS]
    for number in _column(refused, column):
        code += [(_JEQ, 0, 1, number), _refuse()]
    for number in _column(absent, column):
        code += [(_JEQ, 0, 1, number), _refuse(errno.ENOSYS)]
    for number in _column([ADVICE], column):
        code += [(_JEQ, 0, 1, number), _refuse(0)]
    for number, tests in _conditions(options, column):
        code += [(_JEQ, 0, len(tests), number), *tests]
    return [*code, (_RET, 0, 0, _ALLOW)]


def _conditions(options: FilterOptions, column: int) -> Iterable[tuple[int, list[Instruction]]]:
    """Yield the calls whose arguments decide: number, and instructions that always return."""
    others = [(_JSET, 1, 0, _THREAD), _refuse()] if options.judged else []
    flags = [_argument(0), (_JSET, 0, 1, _NEW_NAMESPACES | _PIDFD), _refuse()]
    yield BY_ARGUMENT["clone"][column], [*flags, *others, _allow()]
    typed = [(_JEQ, 1, 0, _TIOCSTI), (_JEQ, 0, 1, _TIOCLINUX), _refuse(), _allow()]
    yield BY_ARGUMENT["ioctl"][column], [_argument(1), *typed]
    linux = [(_JGE, 0, 3, _FIRST_OF_LINUX), (_JGE, 0, 1, _DUPFD_CLOEXEC), (_JGE, 0, 1, _GET_SEALS + 1)]
    yield BY_ARGUMENT["fcntl"][column], [_argument(1), *linux, _refuse(errno.EINVAL), _allow()]
    yield BY_ARGUMENT["madvise"][column], _refused_values(2, (_MERGEABLE, _COLD, _PAGEOUT, _COLLAPSE), errno.EINVAL)
    yield BY_ARGUMENT["prctl"][column], _refused_values(0, (_PR_SET_MEMORY_MERGE,), errno.EINVAL)
    yield BY_ARGUMENT["getsockopt"][column], _refused_values(2, (*_SO_COOKIES, _SO_PEERPIDFD), errno.ENOPROTOOPT)
    yield BY_ARGUMENT["setsockopt"][column], _refused_values(2, (_SO_PASSPIDFD,), errno.ENOPROTOOPT)
    yield BY_ARGUMENT["get_mempolicy"][column], [_argument(4), (_JSET, 0, 1, _MPOL_OF_PAGES), _refuse(), _allow()]
    yield BY_ARGUMENT["mmap"][column], [_argument(3), (_JSET, 0, 1, _MAP_HUGETLB), _refuse(errno.ENOMEM), _allow()]
    yield BY_ARGUMENT["membarrier"][column], _refused_values(0, _OF_ALL_PROCESSES, errno.EINVAL)
    if options.unmapped_memory and (options.judged or options.shared_waits):
        yield BY_ARGUMENT["futex"][column], _own_addresses(waits_only=not options.judged)
    for name in ("preadv2", "pwritev2"):
        unknown = (_JSET, 0, 1, ~_RWF_KNOWN & 0xFFFFFFFF)
        yield BY_ARGUMENT[name][column], [_argument(5), unknown, _refuse(errno.EOPNOTSUPP), _allow()]
    if not options.sockets:
        yield BY_ARGUMENT["socket"][column], _families()
    yield BY_ARGUMENT["rt_sigaction"][column], _ignored_handlers(_SIGCHLD)
    yield BY_ARGUMENT["personality"][column], _unless(0, _PERSONALITY_QUERY)
    # A process may lower its own priority, but not touch those of other processes, groups or users.
    yield BY_ARGUMENT["setpriority"][column], [_argument(0), (_JEQ, 1, 0, 0), _refuse(), *_unless(1, 0)]
    yield BY_ARGUMENT["sched_setscheduler"][column], _unless(0, 0)
    yield BY_ARGUMENT["sched_setparam"][column], _unless(0, 0)
    if options.sockets:
        # Each end of a pair of datagram sockets could send to any address.
        stream = [(_AND, 0, 0, _SOCK_TYPE), (_JEQ, 1, 0, _SOCK_STREAM), _refuse(), _allow()]
        yield BY_ARGUMENT["socketpair"][column], [_argument(1), *stream]
    if options.other_processes:
        yield BY_ARGUMENT["prlimit64"][column], _unless(0, 0)


def _unless(place: int, value: int) -> list[Instruction]:
    return [_argument(place), (_JEQ, 1, 0, value), _refuse(), _allow()]


def _refused_values(place: int, values: Sequence[int], error: int) -> list[Instruction]:
    tests = [(_JEQ, len(values) - i, 0, value) for i, value in enumerate(values)]
    return [_argument(place), *tests, _allow(), _refuse(error)]


def _ignored_handlers(signal: int) -> list[Instruction]:
    """Answer a new handler of a signal with success and do not set it; asking for the handler (no new one) works."""
    new = _ARGUMENTS + 8  # a pointer: both halves are to be zero
    return [
        _argument(0),
        (_JEQ, 0, 5, signal),
        _load(new),
        (_JEQ, 0, 2, 0),
        _load(new + 4),
        (_JEQ, 1, 0, 0),
        _refuse(0),
        _allow(),
    ]


def _own_addresses(waits_only: bool) -> list[Instruction]:
    """Leave to futex what this process alone can see; waiting elsewhere ends at once, as if the value had changed.

    The C library then looks again: it waits like this for the end of a thread, and on semaphores between processes.
    ``waits_only``: waking is allowed. (A judged program could still wake, by the end of a thread: so nobody may wait.)
    """
    waits = [(_JEQ, len(_FUTEX_WAITS) - i, 0, command) for i, command in enumerate(_FUTEX_WAITS)]
    others = _allow() if waits_only else _refuse(errno.EINVAL)
    own = [_argument(1), (_JSET, 0, 1, _FUTEX_PRIVATE), _allow()]
    return [*own, (_AND, 0, 0, _FUTEX_COMMAND), *waits, others, _refuse(errno.EAGAIN)]


def _families() -> list[Instruction]:
    known = [(_JEQ, len(_FAMILIES) - i + 2, 0, family) for i, family in enumerate(_FAMILIES)]
    return [
        _argument(0),
        *known,
        (_JEQ, 0, 3, _NETLINK),
        _argument(2),
        (_JEQ, 0, 1, _ROUTE),
        _allow(),
        _refuse(errno.EAFNOSUPPORT),
    ]


def _column(tables: Iterable[Syscalls], column: int) -> list[int]:
    return [number for table in tables for pair in table.values() if (number := pair[column]) is not None]


def _load(offset: int) -> Instruction:
    return (_LD, 0, 0, offset)


def _argument(place: int) -> Instruction:
    """Load the low half of an argument: both architectures are little-endian, and the kernel uses 32 bits of these."""
    return _load(_ARGUMENTS + 8 * place)


def _refuse(number: int = errno.EPERM) -> Instruction:
    return (_RET, 0, 0, _ERRNO | number)


def _allow() -> Instruction:
    return (_RET, 0, 0, _ALLOW)
