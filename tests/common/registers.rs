//! Where a system call and its arguments lie in the registers of a process that is stopped at it by ptrace(2): for each kind of
//! processor. (x86-64's number is told beside the registers; arm64's is kept in a set of its own, once it has been read.)

pub use libc::user_regs_struct as Registers;
use nix::sys::ptrace;
use nix::unistd::Pid;

#[cfg(target_arch = "x86_64")]
mod processor {
    use super::*;

    pub fn number(registers: &Registers) -> i64 {
        registers.orig_rax as i64
    }

    pub fn arguments(registers: &Registers) -> [u64; 6] {
        [registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9]
    }

    pub fn answer(registers: &Registers) -> i64 {
        registers.rax as i64
    }

    pub fn with_answer(registers: Registers, answer: i64) -> Registers {
        Registers { rax: answer as u64, ..registers }
    }

    pub fn exchange(pid: Pid, at: Registers, number: i64, [rdi, rsi, rdx]: [u64; 3]) -> nix::Result<()> {
        ptrace::setregs(pid, Registers { orig_rax: number as u64, rdi, rsi, rdx, ..at })
    }

    /// The instruction has two bytes, and takes the number from where the answer is to come.
    pub fn again(at: Registers) -> Registers {
        Registers { rip: at.rip - 2, rax: at.orig_rax, ..at }
    }
}

#[cfg(target_arch = "aarch64")]
mod processor {
    use super::*;

    pub fn number(registers: &Registers) -> i64 {
        registers.regs[8] as i64
    }

    pub fn arguments(registers: &Registers) -> [u64; 6] {
        std::array::from_fn(|index| registers.regs[index])
    }

    pub fn answer(registers: &Registers) -> i64 {
        registers.regs[0] as i64
    }

    pub fn with_answer(mut registers: Registers, answer: i64) -> Registers {
        registers.regs[0] = answer as u64;
        registers
    }

    pub fn exchange(pid: Pid, mut at: Registers, number: i64, arguments: [u64; 3]) -> nix::Result<()> {
        const NT_ARM_SYSTEM_CALL: libc::c_int = 0x404;
        at.regs[..3].copy_from_slice(&arguments);
        ptrace::setregs(pid, at)?;
        let mut number = number as libc::c_int;
        let mut set = libc::iovec { iov_base: (&raw mut number).cast(), iov_len: size_of_val(&number) };
        // SAFETY: the kernel reads one int through the iovec, and both live through the call.
        let done = unsafe { libc::ptrace(libc::PTRACE_SETREGSET, pid.as_raw(), NT_ARM_SYSTEM_CALL, &raw mut set) };
        nix::errno::Errno::result(done).map(drop)
    }

    /// Every instruction has four bytes; the number is still where the call has taken it from.
    pub fn again(mut at: Registers) -> Registers {
        at.pc -= 4;
        at
    }
}

pub use processor::*;

/// Has the call at whose entry the process stands be none, so that the kernel does nothing.
pub fn leave_out(pid: Pid) -> nix::Result<()> {
    let at = ptrace::getregs(pid)?;
    let arguments = arguments(&at);
    exchange(pid, at, -1, [arguments[0], arguments[1], arguments[2]])
}

/// At the exit: the answer is `-errno`.
pub fn answer_with(pid: Pid, errno: i32) -> nix::Result<()> {
    ptrace::setregs(pid, with_answer(ptrace::getregs(pid)?, -i64::from(errno)))
}
