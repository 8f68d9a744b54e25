//! The system calls that no crate wraps safely: the only file with `unsafe` in it.
//!
//! Everything here returns at once, keeps no state but whether this process is a child of ours and what was closed when it
//! began, and leaves policy to its callers.

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::Signal;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockFlag, accept4, recvmsg};
use nix::sys::time::TimeSpec;
use nix::unistd::Pid;
use std::convert::Infallible;
use std::ffi::{CStr, c_char, c_int, c_long, c_uint, c_void};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether this process is a child of ours, and so has one thread.
static IS_CHILD: AtomicBool = AtomicBool::new(false);

/// The calls that came late, or that a filter may not know, and since which version Linux has each.
pub const LATE: &[(&str, c_long, (u32, u32))] = &[
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal, (5, 1)),
    ("open_tree", libc::SYS_open_tree, (5, 2)),
    ("move_mount", libc::SYS_move_mount, (5, 2)),
    ("fsopen", libc::SYS_fsopen, (5, 2)),
    ("fsconfig", libc::SYS_fsconfig, (5, 2)),
    ("fsmount", libc::SYS_fsmount, (5, 2)),
    ("clone3", libc::SYS_clone3, (5, 3)),
    ("pidfd_open", libc::SYS_pidfd_open, (5, 3)),
    ("openat2", libc::SYS_openat2, (5, 6)),
    ("faccessat2", libc::SYS_faccessat2, (5, 8)),
    ("close_range", libc::SYS_close_range, (5, 9)),
    ("mount_setattr", libc::SYS_mount_setattr, (5, 12)),
];

/// Of the calls in [`LATE`] those that are answered with ENOSYS here. Each is asked for what no kernel grants, and does nothing.
pub fn lacking() -> impl Iterator<Item = (&'static str, (u32, u32))> {
    let lacks = |number: c_long| {
        // SAFETY: of the calls in the table each takes the first argument for a descriptor, a pid or an address, which -1 is
        // none of, and the others, all 0, for a null address, no flags and a structure without a byte.
        let answer = unsafe { libc::syscall(number, -1 as c_long, 0 as c_long, 0 as c_long, 0 as c_long, 0 as c_long) };
        Errno::result(answer) == Err(Errno::ENOSYS)
    };
    LATE.iter().filter(move |(_, number, _)| lacks(*number)).map(|(name, _, since)| (*name, *since))
}

/// What a clone gave: the parent's view of the child, or the child itself.
pub enum Cloned {
    Parent { pid: Pid, pidfd: OwnedFd },
    Child,
}

/// clone3(2) with `flags` (CLONE_NEW*, and CLONE_INTO_CGROUP where `cgroup` is given), and a pidfd of the child.
///
/// The child is a copy of this process, as after fork(2). That is only sound while no other thread exists, whose locks
/// the child would find taken forever; so that is checked, and refused with EBUSY. Such a child has no other thread, and may
/// by now be where /proc is a container's, and says what that wants. Other flags are refused with EINVAL: a child that
/// shared memory, descriptors or signal handlers with this process would be no copy of it.
pub fn clone3(flags: u64, cgroup: Option<BorrowedFd>) -> nix::Result<Cloned> {
    if flags & !SOUND_TO_CLONE_WITH != 0 {
        return Err(Errno::EINVAL);
    }
    let is_child = IS_CHILD.load(Ordering::Relaxed);
    if !is_child && std::fs::read_dir("/proc/self/task").map(Iterator::count).unwrap_or(1) != 1 {
        return Err(Errno::EBUSY);
    }
    let mut pidfd: RawFd = -1;
    let mut args = libc::clone_args {
        flags: flags | libc::CLONE_PIDFD as u64,
        pidfd: (&raw mut pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        // With CLONE_PARENT the child is a sibling, and signals its end as we signal ours (clone(2)).
        exit_signal: if flags & libc::CLONE_PARENT as u64 == 0 { libc::SIGCHLD as u64 } else { 0 },
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: 0,
    };
    if let Some(fd) = cgroup {
        const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = fd.as_raw_fd() as u64;
    }
    // SAFETY: one thread exists (checked above, or in the parent), CLONE_VM is refused above and `stack` is 0, so the child
    // runs on its own copy of this stack; the kernel writes `pidfd` before it returns, and `args` outlives the call.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    match Errno::result(pid)? {
        0 => {
            IS_CHILD.store(true, Ordering::Relaxed);
            Ok(Cloned::Child)
        }
        // SAFETY: the kernel has just given us this descriptor, and nothing else owns it.
        pid => Ok(Cloned::Parent { pid: Pid::from_raw(pid as i32), pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } }),
    }
}

/// CLONE_NEW*, and CLONE_PARENT.
const SOUND_TO_CLONE_WITH: u64 = {
    const CLONE_NEWTIME: c_int = 0x80;
    let process = libc::CLONE_NEWUSER | libc::CLONE_NEWPID | libc::CLONE_PARENT;
    let view = libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC | libc::CLONE_NEWNET;
    (process | view | libc::CLONE_NEWCGROUP | CLONE_NEWTIME) as u64
};

/// clone(2) with CLONE_PARENT, and a pidfd of the child: a sibling of this process, whose parent will be told of its end.
/// Under the same condition as [`clone3`], which seccomp filters answer with ENOSYS, since they cannot see its flags.
pub fn clone_sibling() -> nix::Result<Cloned> {
    let task = std::fs::read_dir("/proc/self/task").map(Iterator::count);
    if !IS_CHILD.load(Ordering::Relaxed) && task.unwrap_or(1) != 1 {
        return Err(Errno::EBUSY);
    }
    let mut pidfd: RawFd = -1;
    let (flags, no_stack) = ((libc::CLONE_PARENT | libc::CLONE_PIDFD) as c_long, 0 as c_long);
    // SAFETY: one thread exists (checked above, or in the parent), CLONE_VM is not set and the stack is 0, so the child runs on
    // its own copy of this stack; the kernel writes `pidfd`, an int, before it returns.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, no_stack, &raw mut pidfd, no_stack, no_stack) };
    match Errno::result(pid)? {
        0 => {
            IS_CHILD.store(true, Ordering::Relaxed);
            Ok(Cloned::Child)
        }
        // SAFETY: the kernel has just given us this descriptor, and nothing else owns it.
        pid => Ok(Cloned::Parent { pid: Pid::from_raw(pid as i32), pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } }),
    }
}

/// A plain fork(2) with a pidfd, under the same condition as [`clone3`].
pub fn fork() -> nix::Result<Cloned> {
    clone3(0, None)
}

/// Ends this process at once: no destructor, no atexit handler. For children that share buffers with their parent.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit(2) does not return and touches no memory.
    unsafe { libc::_exit(code) }
}

fn owned(result: c_long) -> nix::Result<OwnedFd> {
    let fd = Errno::result(result)?;
    // SAFETY: every caller passes the result of a system call that returns a new descriptor, owned by nobody yet.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// pidfd_open(2): a handle on a process that no later process can be mistaken for.
pub fn pidfd_open(pid: Pid) -> nix::Result<OwnedFd> {
    // SAFETY: takes two integers and returns a new descriptor.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })
}

/// The id of the mount that an open file is on, as mountinfo(5) has it (statx(2) with STATX_MNT_ID).
pub fn mount_id(fd: impl AsFd) -> nix::Result<u64> {
    let mut found = std::mem::MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the path is a static string that ends with a zero, and the kernel fills in a structure of this very type,
    // all of whose bytes were zero before: every pattern of bits is a value of it.
    let found = unsafe {
        let fd = fd.as_fd().as_raw_fd();
        Errno::result(libc::statx(fd, c"".as_ptr(), libc::AT_EMPTY_PATH, libc::STATX_MNT_ID, found.as_mut_ptr()))?;
        found.assume_init()
    };
    Ok(found.stx_mnt_id)
}

/// Whether this process may use the file that `fd` (O_PATH will do) refers to in the ways of `mode` (R_OK, W_OK, X_OK):
/// faccessat2(2) with its effective ids and capabilities. The way to the file is not looked at.
pub fn may_access(fd: impl AsFd, mode: c_int) -> nix::Result<()> {
    let (fd, flags) = (fd.as_fd().as_raw_fd(), libc::AT_EMPTY_PATH | libc::AT_EACCESS);
    // SAFETY: the path is a static string that ends with a zero; the rest are integers.
    Errno::result(unsafe { libc::syscall(libc::SYS_faccessat2, fd, c"".as_ptr(), mode, flags) }).map(drop)
}

/// pidfd_send_signal(2). `signal` is a number, so that real-time signals can be sent too; 0 asks whether it lives.
pub fn pidfd_send_signal(pidfd: impl AsFd, signal: c_int) -> nix::Result<()> {
    let no_info: *const c_void = std::ptr::null();
    // SAFETY: a null siginfo is allowed and means the same as kill(2)'s.
    Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_fd().as_raw_fd(), signal, no_info, 0) })
        .map(drop)
}

/// setns(2) with a pidfd: joins all the namespaces in `flags` (CLONE_NEW*) of that process in one step.
pub fn setns(pidfd: impl AsFd, flags: c_int) -> nix::Result<()> {
    // SAFETY: takes two integers.
    Errno::result(unsafe { libc::setns(pidfd.as_fd().as_raw_fd(), flags) }).map(drop)
}

/// open_tree(2): with OPEN_TREE_CLONE (and AT_RECURSIVE) a detached copy of the mount at `path`.
pub fn open_tree(dir: impl AsFd, path: &CStr, flags: c_uint) -> nix::Result<OwnedFd> {
    // SAFETY: `path` is NUL-terminated and only read during the call.
    owned(unsafe {
        libc::syscall(libc::SYS_open_tree, dir.as_fd().as_raw_fd(), path.as_ptr(), flags | libc::OPEN_TREE_CLOEXEC)
    })
}

/// move_mount(2) of the mount that `mount` refers to, onto the place that `target` refers to.
pub fn move_mount(mount: impl AsFd, target: impl AsFd) -> nix::Result<()> {
    let empty: *const c_char = c"".as_ptr();
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH;
    let (mount, target) = (mount.as_fd().as_raw_fd(), target.as_fd().as_raw_fd());
    // SAFETY: both paths are the same static empty string.
    Errno::result(unsafe { libc::syscall(libc::SYS_move_mount, mount, empty, target, empty, flags) }).map(drop)
}

/// mount_setattr(2) on the mount that `mount` refers to; with `recursive`, on all below it too. `set` and `clear` are
/// MOUNT_ATTR_*, `propagation` MS_* or 0, `userns` the id map of MOUNT_ATTR_IDMAP.
pub fn mount_setattr(
    mount: impl AsFd,
    recursive: bool,
    set: u64,
    clear: u64,
    propagation: u64,
    userns: Option<BorrowedFd>,
) -> nix::Result<()> {
    let attr = libc::mount_attr {
        attr_set: set | if userns.is_some() { libc::MOUNT_ATTR_IDMAP } else { 0 },
        attr_clr: clear,
        propagation,
        userns_fd: userns.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    let fd = mount.as_fd().as_raw_fd();
    // SAFETY: `attr` lives through the call and its true size is given with it.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_mount_setattr, fd, c"".as_ptr(), flags, &raw const attr, size_of::<libc::mount_attr>())
    })
    .map(drop)
}

/// fsopen(2): the first step of making a new mount of file system `kind`.
pub fn fsopen(kind: &CStr) -> nix::Result<OwnedFd> {
    // SAFETY: `kind` is NUL-terminated and only read during the call.
    owned(unsafe {
        libc::syscall(libc::SYS_fsopen, kind.as_ptr(), 1 /* FSOPEN_CLOEXEC */)
    })
}

/// fsconfig(2), FSCONFIG_SET_STRING.
pub fn fsconfig_string(context: impl AsFd, key: &CStr, value: &CStr) -> nix::Result<()> {
    // SAFETY: both strings are NUL-terminated, and copied by the kernel before it returns.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_fsconfig, context.as_fd().as_raw_fd(), 1, key.as_ptr(), value.as_ptr(), 0)
    })
    .map(drop)
}

/// fsconfig(2), FSCONFIG_SET_FLAG.
pub fn fsconfig_flag(context: impl AsFd, key: &CStr) -> nix::Result<()> {
    let none: *const c_char = std::ptr::null();
    // SAFETY: the key is NUL-terminated and copied by the kernel before it returns; a flag takes no value.
    Errno::result(unsafe { libc::syscall(libc::SYS_fsconfig, context.as_fd().as_raw_fd(), 0, key.as_ptr(), none, 0) })
        .map(drop)
}

/// fsconfig(2), FSCONFIG_CMD_CREATE: makes the superblock.
pub fn fsconfig_create(context: impl AsFd) -> nix::Result<()> {
    let none: *const c_char = std::ptr::null();
    // SAFETY: this command takes neither key nor value.
    Errno::result(unsafe { libc::syscall(libc::SYS_fsconfig, context.as_fd().as_raw_fd(), 6, none, none, 0) }).map(drop)
}

/// fsmount(2): a detached mount of what [`fsconfig_create`] made, with MOUNT_ATTR_* `attributes`.
pub fn fsmount(context: impl AsFd, attributes: u64) -> nix::Result<OwnedFd> {
    // SAFETY: takes three integers and returns a new descriptor.
    owned(unsafe {
        libc::syscall(
            libc::SYS_fsmount,
            context.as_fd().as_raw_fd(),
            1, /* FSMOUNT_CLOEXEC */
            attributes as c_uint,
        )
    })
}

/// pivot_root(".", "."): the working directory becomes `/`, and the old root lies on top of it, to be unmounted.
pub fn pivot_root_here() -> nix::Result<()> {
    nix::unistd::pivot_root(".", ".")
}

/// The descriptors above the standard three that would survive an execve(2): all of our own are made with O_CLOEXEC, so what
/// lacks it came from whoever started us.
pub fn inherited() -> Vec<RawFd> {
    // SAFETY: only reads a number that the kernel keeps; a descriptor that is closed by now answers EBADF.
    open_descriptors().filter(|fd| *fd > 2 && unsafe { libc::fcntl(*fd, libc::F_GETFD) } == 0).collect()
}

/// Closes what is [`inherited`], but `kept`.
pub fn close_inherited(kept: &[RawFd]) {
    for fd in inherited().into_iter().filter(|fd| !kept.contains(fd)) {
        // SAFETY: no value of this program owns a descriptor without O_CLOEXEC, so none is closed behind one's back.
        unsafe { libc::close(fd) };
    }
}

/// Which of 0, 1 and 2 were closed when the program began. Rust's runtime opens /dev/null in their places before `main`, so that an
/// archive would be written to nowhere with success, and a volume be imported from nothing.
static CLOSED: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

/// Whether `fd`, one of the standard three, was closed when the program began.
pub fn was_closed(fd: usize) -> bool {
    CLOSED.get(fd).is_some_and(|closed| closed.load(Ordering::Relaxed))
}

extern "C" fn note_closed() {
    let mut asked = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: poll(2) writes to the three elements alone, and returns at once.
    unsafe { libc::poll(asked.as_mut_ptr(), 3, 0) };
    for (closed, answer) in CLOSED.iter().zip(asked) {
        closed.store(answer.revents & libc::POLLNVAL != 0, Ordering::Relaxed);
    }
}

// SAFETY: what stands in this section is called before Rust's runtime begins, and `note_closed` needs nothing of that.
#[unsafe(link_section = ".init_array")]
#[used]
static NOTE_CLOSED: extern "C" fn() = note_closed;

/// Has the allocator keep what is freed, and take more at a time: a command is over before memory is anybody's need, and a
/// page given back would be asked for, cleared and mapped again a moment later.
pub fn keep_freed_memory() {
    // SAFETY: mallopt(3) only sets two numbers of the allocator's; no other thread exists that could be allocating.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, 16 << 20);
        libc::mallopt(libc::M_TOP_PAD, 256 << 10);
    }
}

/// Gives back the memory that this program's own code and constants take, what the stack has once been used for, and what
/// the allocator holds free: what is needed again is read again from the page cache. For a process that will sleep for as
/// long as a container lives.
pub fn release_program_pages() {
    // SAFETY: only returns free memory of the allocator's to the kernel.
    unsafe { libc::malloc_trim(0) };
    let maps = crate::procfs::read("/proc/self/maps").unwrap_or_default();
    let Ok(program) = std::fs::read_link("/proc/self/exe") else { return };
    let program = program.to_string_lossy();
    let mut code_is_behind = false;
    let mut unused = Vec::new();
    for line in maps.lines() {
        let mut words = line.split(' ');
        let range = words.next().and_then(|range| range.split_once('-'));
        let bounds = range.map(|(start, end)| (usize::from_str_radix(start, 16), usize::from_str_radix(end, 16)));
        let Some((Ok(start), Ok(end))) = bounds else { return };
        let rights = words.next().unwrap_or("");
        if line.ends_with("[stack]") {
            unused.push((start, below_every_frame().clamp(start, end)));
        } else if line.ends_with(&*program) && !rights.contains('w') && !code_is_behind {
            unused.push((start, end));
            // What lies behind the code may have been relocated when the program started, and differ from the file.
            code_is_behind = rights.contains('x');
        }
    }
    // All at once: what runs between two of them would fault its pages in again.
    for (start, end) in unused {
        // SAFETY: the range is either a mapping of the program file, at most as far as its code, that nothing has ever
        // written to, so that the next access finds the same bytes; or it lies on the stack below every frame that is
        // alive, where nothing will be read before it is written.
        unsafe { libc::madvise(start as *mut c_void, end - start, libc::MADV_DONTNEED) };
    }
}

/// An address on the stack below the frames of all that have called this, with room for who calls next.
#[inline(never)]
fn below_every_frame() -> usize {
    let here = 0u8;
    ((&raw const here) as usize & !0xfff) - 0x1000
}

/// Closes every descriptor from `first` on but those of `kept`, runs `then`, and ends this process (close_range(2)). For a
/// child that is about to execute a program.
///
/// The values that own what is closed are still there, in the frames of whoever called this and in the parent's that were
/// copied at the clone. None of them is dropped or used any more, since this does not return, not by a panic either.
pub fn close_all_but(first: RawFd, kept: &[RawFd], then: impl FnOnce(nix::Result<()>) -> Infallible) -> ! {
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            exit_now(1);
        }
    }
    let _end = End;
    let close = |from: RawFd, to: c_uint| {
        // SAFETY: what is closed is owned by values in frames that this process never comes back to, as told above.
        Errno::result(unsafe { libc::close_range(from as c_uint, to, 0) }).map(drop)
    };
    let mut from = first;
    let mut kept: Vec<RawFd> = kept.iter().copied().filter(|fd| *fd >= first).collect();
    kept.sort_unstable();
    let closed = kept.iter().try_for_each(|fd| {
        let below = if *fd > from { close(from, (*fd - 1) as c_uint) } else { Ok(()) };
        from = *fd + 1;
        below
    });
    match then(closed.and_then(|()| close(from, c_uint::MAX))) {}
}

/// The program that `command` starts gets descriptors 0, 1 and 2: what this process has open is closed, not only marked,
/// before its path is looked up. (What std opens for itself afterwards are pipes, which lead nowhere.)
pub fn close_descriptors_of(command: &mut std::process::Command) {
    let open: Vec<RawFd> = open_descriptors().filter(|fd| *fd > 2).collect();
    let close = move || {
        // SAFETY: the child, a copy of this process, goes on to execve(2) or ends: no value in it uses these any more.
        open.iter().for_each(|fd| _ = unsafe { libc::close(*fd) });
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes system calls, and neither allocates nor takes a lock.
    unsafe { std::os::unix::process::CommandExt::pre_exec(command, close) };
}

fn open_descriptors() -> impl Iterator<Item = RawFd> {
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    open.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Overwrites the command line that this program was executed with (with `shown`, as far as there is room), which
/// /proc/PID/cmdline shows to everybody; and, without `keep_environment`, its environment, which /proc/PID/environ shows to who
/// may trace the process. [`std::env::args`] and [`std::env::var`] find nothing of it from here on.
pub fn forget_words(shown: &str, keep_environment: bool) {
    // The kernel lays them at the top of the stack, one behind the other: the words, the environment, the program's name
    // (AT_EXECFN, getauxval(3)). The C library keeps the address of the first.
    let words: usize = std::env::args_os().map(|word| word.len() + 1).sum();
    // SAFETY: glibc declares it so (program_invocation_name(3)); it is set when the program starts, and nothing changes it.
    unsafe extern "C" {
        static program_invocation_name: *const c_char;
    }
    // SAFETY: as above; only the address is read.
    let start = unsafe { program_invocation_name } as usize;
    // SAFETY: takes an integer and returns one.
    let end = unsafe { libc::getauxval(libc::AT_EXECFN) } as usize;
    if words == 0 || start == 0 || end.checked_sub(start).is_none_or(|length| length < words || length > LONGEST_WORDS)
    {
        return;
    }
    let shown = &shown.as_bytes()[..shown.len().min(words - 1)];
    let length = if keep_environment { words } else { end - start };
    // SAFETY: from the first word to the program's name lies what the kernel has written there, above every frame. Rust has
    // no reference to it: std and the C library read it by raw pointers, as strings that end with a zero, when they are
    // asked to, and no other thread exists that could ask now. The last byte of the words stays zero, without which the
    // kernel would take the command line to be longer than it is.
    unsafe {
        std::ptr::write_bytes(start as *mut u8, 0, length);
        std::ptr::copy_nonoverlapping(shown.as_ptr(), start as *mut u8, shown.len());
    }
}

/// The kernel takes no more for the words and the environment of a program (execve(2), "Limits on size").
const LONGEST_WORDS: usize = 6 << 20;

/// One instruction of a classic BPF program (linux/filter.h `struct sock_filter`).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bpf {
    pub code: u16,
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}

/// seccomp(2), SECCOMP_SET_MODE_FILTER. `flags` are SECCOMP_FILTER_FLAG_*; returns the listener with NEW_LISTENER, else 0.
pub fn seccomp_load(program: &[Bpf], flags: u32) -> nix::Result<RawFd> {
    #[repr(C)]
    struct Program {
        length: u16,
        filter: *const Bpf,
    }
    let length = u16::try_from(program.len()).map_err(|_| Errno::E2BIG)?;
    let program = Program { length, filter: program.as_ptr() };
    // SAFETY: `Bpf` has the layout of sock_filter, the slice outlives the call, and the kernel copies and verifies it.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_seccomp, 1 /* SECCOMP_SET_MODE_FILTER */, flags, &raw const program)
    })
    .map(|fd| fd as RawFd)
}

/// prctl(2) with one argument: of the options that take an integer those that we use; another, which might take it for an
/// address, is EINVAL.
pub fn prctl(option: c_int, argument: libc::c_ulong) -> nix::Result<c_int> {
    if !INTEGER_OPTIONS.contains(&option) {
        return Err(Errno::EINVAL);
    }
    // SAFETY: the option takes an integer (checked above), and the unused arguments are 0.
    Errno::result(unsafe { libc::prctl(option, argument, 0 as libc::c_ulong, 0 as libc::c_ulong, 0 as libc::c_ulong) })
}

const INTEGER_OPTIONS: &[c_int] = &[
    libc::PR_SET_DUMPABLE,
    libc::PR_SET_KEEPCAPS,
    libc::PR_SET_PDEATHSIG,
    libc::PR_SET_NO_NEW_PRIVS,
    libc::PR_SET_CHILD_SUBREAPER,
    libc::PR_CAPBSET_READ,
    libc::PR_CAPBSET_DROP,
];

/// personality(2): which kernel uname(2) speaks of, and more that is the same for all programs of today.
pub fn set_personality(persona: u32) -> nix::Result<()> {
    // SAFETY: the call takes a number, and changes nothing of this program's memory.
    Errno::result(unsafe { libc::personality(persona.into()) }).map(drop)
}

/// ioprio_set(2) of this process: the class in the upper bits, the level in the lower 13.
pub fn set_io_priority(class: u16, level: u16) -> nix::Result<()> {
    const WHO_PROCESS: c_int = 1;
    let priority = c_int::from(class) << 13 | c_int::from(level);
    // SAFETY: the call takes three numbers.
    Errno::result(unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, priority) }).map(drop)
}

/// struct sched_attr of sched_setattr(2), in its first version.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Schedule {
    pub size: u32,
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

/// sched_setattr(2) of this process.
pub fn set_schedule(schedule: &Schedule) -> nix::Result<()> {
    let schedule = Schedule { size: size_of::<Schedule>() as u32, ..*schedule };
    // SAFETY: the structure has the layout of sched_attr and says its own size, up to which the kernel reads it.
    Errno::result(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const schedule, 0) }).map(drop)
}

/// The most NUMA nodes that a kernel is built for.
pub const MOST_NODES: usize = 1024;

/// set_mempolicy(2): which of the machine's `nodes` this process's memory comes from, bit by bit.
pub fn set_memory_policy(mode: u32, nodes: &[u64; MOST_NODES / 64]) -> nix::Result<()> {
    // The kernel reads one bit less than it is told.
    let bits = MOST_NODES as libc::c_ulong + 1;
    // SAFETY: the array holds as many bits as are read, and outlives the call.
    Errno::result(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, nodes.as_ptr(), bits) }).map(drop)
}

/// keyctl(KEYCTL_JOIN_SESSION_KEYRING): a session keyring of the container's own, so that it inherits none of the host's keys.
/// Returns its number.
pub fn new_session_keyring() -> nix::Result<i32> {
    let anonymous: *const c_char = std::ptr::null();
    // SAFETY: a null name asks for a new anonymous keyring.
    Errno::result(unsafe { libc::syscall(libc::SYS_keyctl, 1, anonymous, 0, 0, 0) }).map(|key| key as i32)
}

/// getrandom(2), which for up to 256 bytes gives all or fails.
pub fn random() -> nix::Result<[u8; 32]> {
    let mut bytes = [0u8; 32];
    // SAFETY: the kernel writes at most as many bytes as the length says, at the address of an array that is as long.
    Errno::result(unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) }).map(|_| bytes)
}

/// The program that `command` starts begins with no signal blocked, whatever this process has blocked.
pub fn unblock_signals_of(command: &mut std::process::Command) {
    let unblock = || nix::sys::signal::SigSet::empty().thread_set_mask().map_err(std::io::Error::from);
    // SAFETY: between fork and exec the closure makes one system call, and neither allocates nor takes a lock.
    unsafe { std::os::unix::process::CommandExt::pre_exec(command, unblock) };
}

/// Sets the disposition of every signal back to its default, the real-time ones included.
pub fn default_signals() {
    for signal in 1..=64 {
        // SAFETY: SIG_DFL names no handler; for SIGKILL, SIGSTOP and glibc's own two the call fails and changes nothing.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Ignores a signal (SIG_IGN), for this process and what it execs.
pub fn ignore_signal(signal: Signal) {
    // SAFETY: SIG_IGN names no handler.
    unsafe { libc::signal(signal as c_int, libc::SIG_IGN) };
}

/// TIOCSCTTY: makes the terminal at `fd` the controlling terminal of this session.
pub fn set_controlling_terminal(fd: impl AsFd) -> nix::Result<()> {
    // SAFETY: the argument of this ioctl is an integer.
    Errno::result(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::TIOCSCTTY, 0) }).map(drop)
}

/// TIOCGWINSZ: rows and columns of the terminal at `fd`.
pub fn window_size(fd: impl AsFd) -> nix::Result<(u16, u16)> {
    // SAFETY: a winsize is plain integers, for which zero is a value.
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one winsize at the address given.
    Errno::result(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) })?;
    Ok((size.ws_row, size.ws_col))
}

/// TIOCSWINSZ: sets rows and columns of the terminal at `fd`.
pub fn set_window_size(fd: impl AsFd, rows: u16, columns: u16) -> nix::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel reads one winsize from the address given.
    Errno::result(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }).map(drop)
}

/// FICLONE: makes `target` share all blocks of `source`, where the file system can.
pub fn reflink(target: impl AsFd, source: impl AsFd) -> nix::Result<()> {
    let (target, source) = (target.as_fd().as_raw_fd(), source.as_fd().as_raw_fd());
    // SAFETY: the kernel takes two descriptors, both open through the call, and no address.
    Errno::result(unsafe { libc::ioctl(target, libc::FICLONE, source) }).map(drop)
}

/// Brings the loopback interface of the network namespace that `socket` belongs to up (SIOCSIFFLAGS).
pub fn loopback_up(socket: impl AsFd) -> nix::Result<()> {
    // SAFETY: an ifreq is integers and arrays of them, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as c_char;
    request.ifr_name[1] = b'o' as c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: the kernel reads one ifreq from the address given.
    Errno::result(unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }).map(drop)
}

/// utimensat(2) of the open file itself, which may be open with O_PATH (AT_EMPTY_PATH).
pub fn set_times(fd: impl AsFd, accessed: TimeSpec, modified: TimeSpec) -> nix::Result<()> {
    let times = [*accessed.as_ref(), *modified.as_ref()];
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: the path is a string that ends in NUL, and `times` has the two members that the call reads.
    let done = unsafe { libc::utimensat(fd, c"".as_ptr(), times.as_ptr(), libc::AT_EMPTY_PATH) };
    Errno::result(done).map(drop)
}

/// umask(2), without nix's typed modes: returns the old one.
pub fn umask(mask: u32) -> u32 {
    // SAFETY: umask(2) cannot fail and takes an integer.
    unsafe { libc::umask(mask) }
}

/// prlimit(2): the (soft, hard) limit of a process.
pub fn limit_of(pid: Pid, resource: u32) -> nix::Result<(u64, u64)> {
    let new: *const libc::rlimit64 = std::ptr::null();
    let mut old = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one rlimit64, alive through the call; a null new limit changes nothing.
    Errno::result(unsafe { libc::syscall(libc::SYS_prlimit64, pid.as_raw(), resource, new, &raw mut old) })?;
    Ok((old.rlim_cur, old.rlim_max))
}

/// prlimit(2): gives a process a (soft, hard) limit.
pub fn set_limit(pid: Pid, resource: u32, (soft, hard): (u64, u64)) -> nix::Result<()> {
    let new = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    let old: *mut libc::rlimit64 = std::ptr::null_mut();
    // SAFETY: the kernel reads one rlimit64, alive through the call; null says that nobody asks for the old one.
    Errno::result(unsafe { libc::syscall(libc::SYS_prlimit64, pid.as_raw(), resource, &raw const new, old) }).map(drop)
}

/// TIOCSPTLCK and TIOCGPTPEER: unlocks the terminal whose master is `master`, and opens its slave by that descriptor,
/// never by a path that the container could have changed.
pub fn open_terminal_slave(master: impl AsFd) -> nix::Result<OwnedFd> {
    let unlock: c_int = 0;
    let fd = master.as_fd().as_raw_fd();
    // SAFETY: the kernel reads one int from the address given.
    Errno::result(unsafe { libc::ioctl(fd, libc::TIOCSPTLCK, &raw const unlock) })?;
    // SAFETY: the argument of this ioctl is an integer (open flags), and it returns a new descriptor.
    owned(unsafe { libc::ioctl(fd, libc::TIOCGPTPEER, libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC) }.into())
}

/// recvmsg(2): the next message, into `bytes`, and the descriptors that came with it (SCM_RIGHTS in unix(7)).
pub fn receive(socket: impl AsFd, bytes: &mut [u8]) -> nix::Result<(usize, Vec<OwnedFd>)> {
    let mut space = nix::cmsg_space!([RawFd; MOST_DESCRIPTORS]);
    let mut parts = [std::io::IoSliceMut::new(bytes)];
    let socket = socket.as_fd().as_raw_fd();
    let message = recvmsg::<()>(socket, &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            // SAFETY: the kernel has just given us these, and nobody else sees the message that tells their numbers.
            descriptors.extend(numbers.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    Ok((message.bytes, descriptors))
}

/// How many descriptors [`receive`] takes with one message; the kernel lets at most 253 be sent.
pub const MOST_DESCRIPTORS: usize = 200;

/// accept4(2), with SOCK_CLOEXEC and `flags`.
pub fn accept(listener: impl AsFd, flags: SockFlag) -> nix::Result<OwnedFd> {
    owned(accept4(listener.as_fd().as_raw_fd(), flags | SockFlag::SOCK_CLOEXEC)?.into())
}

/// fcntl(2), F_DUPFD_CLOEXEC: a copy with the lowest free number from `least` on.
pub fn duplicate_from(least: RawFd, fd: impl AsFd) -> nix::Result<OwnedFd> {
    owned(fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(least))?.into())
}

/// Sets one signal back to its default disposition.
pub fn default_signal(signal: Signal) {
    // SAFETY: SIG_DFL names no handler.
    unsafe { libc::signal(signal as c_int, libc::SIG_DFL) };
}

/// setdomainname(2): the NIS domain name of this UTS namespace.
pub fn set_domain_name(name: &str) -> nix::Result<()> {
    // SAFETY: the kernel reads `len` bytes from the address given.
    Errno::result(unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) }).map(drop)
}

/// bpf(2), BPF_PROG_LOAD of an eBPF program of type BPF_PROG_TYPE_CGROUP_DEVICE, one word an instruction.
pub fn bpf_device_program(instructions: &[u64]) -> nix::Result<OwnedFd> {
    /// The beginning of `union bpf_attr` for this command; the kernel takes what is missing as zero.
    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        instructions: *const u64,
        license: *const c_char,
    }
    let load = Load {
        kind: 15,
        count: u32::try_from(instructions.len()).map_err(|_| Errno::E2BIG)?,
        instructions: instructions.as_ptr(),
        license: c"Apache-2.0".as_ptr(),
    };
    // SAFETY: `load` and what it points to live through the call, its true size is given, and the kernel verifies the
    // program before it takes a copy.
    owned(unsafe {
        libc::syscall(libc::SYS_bpf, 5 /* BPF_PROG_LOAD */, &raw const load, size_of::<Load>())
    })
}

/// bpf(2), BPF_PROG_ATTACH of such a program to a cgroup, beside those that are attached already.
pub fn bpf_attach_device(cgroup: impl AsFd, program: impl AsFd) -> nix::Result<()> {
    const CGROUP_DEVICE: i32 = 6;
    const ALLOW_MULTI: i32 = 2;
    let attach = [cgroup.as_fd().as_raw_fd(), program.as_fd().as_raw_fd(), CGROUP_DEVICE, ALLOW_MULTI];
    // SAFETY: the four numbers are the beginning of `union bpf_attr` for this command, and are only read.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_bpf, 8 /* BPF_PROG_ATTACH */, attach.as_ptr(), size_of_val(&attach))
    })
    .map(drop)
}

/// ioctl_ns(2), NS_GET_USERNS: the user namespace that owns the namespace `fd`.
pub fn owning_user_namespace(fd: impl AsFd) -> nix::Result<OwnedFd> {
    const NS_GET_USERNS: libc::c_ulong = 0xb701;
    // SAFETY: this ioctl takes no argument and returns a new descriptor.
    owned(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), NS_GET_USERNS as _) }.into())
}

/// LOOP_CTL_GET_FREE (loop(4)): the number of a loop device that has no file, made if need be. `control` is
/// /dev/loop-control.
pub fn free_loop_device(control: impl AsFd) -> nix::Result<i32> {
    const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4c82;
    // SAFETY: this ioctl takes no argument and returns a number.
    Errno::result(unsafe { libc::ioctl(control.as_fd().as_raw_fd(), LOOP_CTL_GET_FREE as _) })
}

/// The kernel's `struct loop_info64` (linux/loop.h), of which only the first two fields and the flags are of use to us.
#[repr(C)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// LOOP_CONFIGURE: gives the loop device a file, with LO_FLAGS_AUTOCLEAR: it lets go of it at its last close or unmount.
pub fn configure_loop_device(device: impl AsFd, file: impl AsFd, shown: &[u8]) -> nix::Result<()> {
    const LOOP_CONFIGURE: libc::c_ulong = 0x4c0a;
    const LO_FLAGS_AUTOCLEAR: u32 = 4;
    #[repr(C)]
    struct Config {
        fd: u32,
        block_size: u32,
        info: LoopInfo,
        reserved: [u64; 8],
    }
    // SAFETY: the structure is integers and arrays of them, for which zero is a value.
    let mut config: Config = unsafe { std::mem::zeroed() };
    config.fd = file.as_fd().as_raw_fd() as u32;
    config.info.flags = LO_FLAGS_AUTOCLEAR;
    // What losetup(8) and /proc/mounts' reader see of it, cut at the field's end; the last byte stays zero.
    let length = shown.len().min(63);
    config.info.file_name[..length].copy_from_slice(&shown[..length]);
    // SAFETY: the kernel reads one loop_config from the address given.
    Errno::result(unsafe { libc::ioctl(device.as_fd().as_raw_fd(), LOOP_CONFIGURE as _, &raw const config) }).map(drop)
}

/// LOOP_GET_STATUS64: the device and the inode of the file that a loop device has; ENXIO where it has none.
pub fn loop_device_file(device: impl AsFd) -> nix::Result<(u64, u64)> {
    const LOOP_GET_STATUS64: libc::c_ulong = 0x4c05;
    // SAFETY: the structure is integers and arrays of them, for which zero is a value.
    let mut info: LoopInfo = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one loop_info64 at the address given.
    Errno::result(unsafe { libc::ioctl(device.as_fd().as_raw_fd(), LOOP_GET_STATUS64 as _, &raw mut info) })?;
    Ok((info.device, info.inode))
}
