//! A process's share of the machine, as a bundle asks for it: of the processors (`process.scheduler`), the disks
//! (`process.ioPriority`), the memory (`linux.memoryPolicy`); and the kernel that it is told it runs on (`linux.personality`).

use crate::error::{Doing, Error, Result};
use crate::explain::{self, calls};
use crate::kernel::{MOST_NODES, Schedule};
use oci_spec::runtime::{
    IOPriorityClass, LinuxIOPriority, LinuxMemoryPolicy, LinuxPersonality, LinuxPersonalityDomain as Domain,
    LinuxSchedulerFlag as Flag, LinuxSchedulerPolicy as Policy, MemoryPolicyFlagType as NodesAre,
    MemoryPolicyModeType as Mode, Process, Scheduler, Spec,
};

/// What is asked for, in the kernel's numbers.
#[derive(Debug, Default)]
pub struct Share {
    schedule: Option<Schedule>,
    /// The class and the level.
    io_priority: Option<(u16, u16)>,
    personality: Option<u32>,
    memory: Option<(u32, Nodes)>,
}

type Nodes = [u64; MOST_NODES / 64];

/// Reads what `spec` and `process` ask for, and refuses what the kernel would take for something else.
pub fn read(spec: &Spec, process: &Process) -> Result<Share> {
    let linux = spec.linux().as_ref();
    let personality = linux.and_then(|linux| linux.personality().as_ref());
    let memory = linux.and_then(|linux| linux.memory_policy().as_ref());
    Ok(Share {
        schedule: process.scheduler().as_ref().map(schedule).transpose()?,
        io_priority: process.io_priority().as_ref().map(io_priority).transpose()?,
        personality: personality.map(persona).transpose()?,
        memory: memory.map(memory_policy).transpose()?,
    })
}

impl Share {
    /// Takes it for this process, which must still hold the rights for that; what it executes has it too.
    pub fn take(&self) -> Result<()> {
        if let Some(schedule) = &self.schedule {
            explain::step("its share of the processors", "chrt … …");
            calls::set_schedule(schedule).doing(|| "set process.scheduler")?;
        }
        if let Some((class, level)) = self.io_priority {
            explain::step("its share of the disks", format_args!("ionice -c {class} -n {level} …"));
            calls::set_io_priority(class, level).doing(|| "set process.ioPriority")?;
        }
        if let Some(persona) = self.personality {
            explain::step("the kernel that it is told it runs on", "setarch … …");
            calls::set_personality(persona).doing(|| "set linux.personality")?;
        }
        if let Some((mode, nodes)) = &self.memory {
            explain::step("where its memory comes from", "numactl … …");
            calls::set_memory_policy(*mode, nodes).doing(|| "set linux.memoryPolicy")?;
        }
        Ok(())
    }
}

fn schedule(asked: &Scheduler) -> Result<Schedule> {
    let policy = match asked.policy() {
        Policy::SchedOther => 0,
        Policy::SchedFifo => 1,
        Policy::SchedRr => 2,
        Policy::SchedBatch => 3,
        Policy::SchedIso => 4,
        Policy::SchedIdle => 5,
        Policy::SchedDeadline => 6,
    };
    let bit = |flag: &Flag| match flag {
        Flag::SchedResetOnFork => 0x1,
        Flag::SchedFlagReclaim => 0x2,
        Flag::SchedFlagDLOverrun => 0x4,
        Flag::SchedFlagKeepPolicy => 0x8,
        Flag::SchedFlagKeepParams => 0x10,
        Flag::SchedFlagUtilClampMin => 0x20,
        Flag::SchedFlagUtilClampMax => 0x40,
    };
    let (nice, priority) = (asked.nice().unwrap_or(0), asked.priority().unwrap_or(0));
    let times = [asked.runtime(), asked.deadline(), asked.period()].map(|time| time.unwrap_or(0));
    let refuse = |why: String| Err(Error::new(format!("process.scheduler: {why}")));
    if !(-20..=19).contains(&nice) {
        return refuse(format!("a nice value is from -20 to 19, and {nice} is none"));
    }
    if priority != 0 && !matches!(asked.policy(), Policy::SchedFifo | Policy::SchedRr) {
        return refuse(format!("a priority is for SCHED_FIFO and SCHED_RR, and not for {}", asked.policy()));
    }
    if times != [0; 3] && *asked.policy() != Policy::SchedDeadline {
        return refuse("runtime, deadline and period are for SCHED_DEADLINE".into());
    }
    let Ok(priority) = u32::try_from(priority) else { return refuse(format!("{priority} is no priority")) };
    let flags = asked.flags().iter().flatten().map(bit).fold(0, |all, bit| all | bit);
    let [runtime, deadline, period] = times;
    Ok(Schedule { size: 0, policy, flags, nice, priority, runtime, deadline, period })
}

fn io_priority(asked: &LinuxIOPriority) -> Result<(u16, u16)> {
    let class = match asked.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    match u16::try_from(asked.priority()).ok().filter(|level| *level < 8) {
        Some(level) => Ok((class, level)),
        None => {
            Err(Error::new(format!("process.ioPriority: a priority is from 0 to 7, and {} is none", asked.priority())))
        }
    }
}

fn persona(asked: &LinuxPersonality) -> Result<u32> {
    if let Some(flag) = asked.flags().iter().flatten().next() {
        return Err(Error::new(format!("linux.personality: there is no flag {flag:?}: the specification has none")));
    }
    Ok(match asked.domain() {
        Domain::PerLinux => 0x0,
        Domain::PerLinux32 => 0x8,
    })
}

fn memory_policy(asked: &LinuxMemoryPolicy) -> Result<(u32, Nodes)> {
    let (mode, takes_nodes) = match asked.mode() {
        Mode::MpolDefault => (0, Some(false)),
        Mode::MpolPreferred => (1, None),
        Mode::MpolBind => (2, Some(true)),
        Mode::MpolInterleave => (3, Some(true)),
        Mode::MpolLocal => (4, Some(false)),
        Mode::MpolPreferredMany => (5, Some(true)),
        Mode::MpolWeightedInterleave => (6, Some(true)),
    };
    let nodes = nodes(asked.nodes().as_deref().unwrap_or_default())?;
    let names_some = nodes.iter().any(|bits| *bits != 0);
    match takes_nodes {
        Some(true) if !names_some => {
            return Err(Error::new(format!("linux.memoryPolicy: {} needs nodes, and none is named", asked.mode())));
        }
        Some(false) if names_some => {
            return Err(Error::new(format!("linux.memoryPolicy: {} takes no nodes", asked.mode())));
        }
        _ => {}
    }
    let bit = |flag: &NodesAre| match flag {
        NodesAre::MpolFNumaBalancing => 1 << 13,
        NodesAre::MpolFRelativeNodes => 1 << 14,
        NodesAre::MpolFStaticNodes => 1 << 15,
    };
    Ok((asked.flags().iter().flatten().map(bit).fold(mode, |all, bit| all | bit), nodes))
}

/// `0-3,7`, as bits.
fn nodes(list: &str) -> Result<Nodes> {
    let mut bits = [0; MOST_NODES / 64];
    let bad = || Error::new(format!("linux.memoryPolicy: {list:?} is no list of nodes below {MOST_NODES}, as 0-3,7"));
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.parse::<usize>().ok().filter(|number| *number < MOST_NODES).ok_or_else(bad);
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(bad());
        }
        (first..=last).for_each(|node| bits[node / 64] |= 1 << (node % 64));
    }
    Ok(bits)
}
