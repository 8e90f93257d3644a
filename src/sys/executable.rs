//! What a file is that the kernel does not execute, by its first bytes.
//!
//! execvp(3) hands every file of an unknown format to /bin/sh. That is right for a script without a `#!` line, and
//! wrong for a program of another machine, an empty file or a picture: a shell makes of them whatever its syntax makes
//! of their bytes.

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::read;
use std::ffi::CStr;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// How many bytes of a file are looked at.
pub(super) const HEAD: usize = 256;
/// A loader's name comes after the headers of an ELF file, near its beginning.
const FAR: usize = 16 * 1024;

/// What such a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutableFormat {
    /// A script without `#!`.
    Text,
    /// It is empty.
    Empty,
    /// An ELF file for this machine type (elf(5), e_machine).
    Elf(u16),
    /// A program of another system.
    Foreign(&'static str),
    /// Anything else that has NUL bytes.
    Binary,
    /// It may be executed but not read.
    Unreadable,
}

/// This machine's own, and others that images are built for (elf(5); the numbers are those of elf.h).
const MACHINES: &[(u16, &str)] = &[
    (3, "i386"),
    (8, "mips"),
    (20, "ppc"),
    (21, "ppc64"),
    (22, "s390x"),
    (40, "arm"),
    (62, "x86_64"),
    (183, "aarch64"),
    (243, "riscv"),
    (258, "loongarch"),
];

impl ExecutableFormat {
    /// By the file's first bytes; allocates nothing.
    pub(super) fn of(head: &[u8]) -> ExecutableFormat {
        match head {
            [] => ExecutableFormat::Empty,
            [0x7f, b'E', b'L', b'F', _, order, ..] => {
                ExecutableFormat::Elf(match (head.get(18), head.get(19), order) {
                    (Some(high), Some(low), 2) => u16::from_be_bytes([*high, *low]),
                    (Some(low), Some(high), _) => u16::from_le_bytes([*low, *high]),
                    (_, _, _) => 0,
                })
            }
            [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..] | [0xca, 0xfe, 0xba, 0xbe, 0, ..] => ExecutableFormat::Foreign("macOS"),
            [b'M', b'Z', ..] if head.contains(&0) => ExecutableFormat::Foreign("Windows"),
            _ if head.contains(&0) => ExecutableFormat::Binary,
            _ => ExecutableFormat::Text,
        }
    }

    /// Looks at a file; system calls only.
    pub(super) fn of_file(path: &CStr) -> ExecutableFormat {
        let mut head = [0; HEAD];
        let file = open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
        let count = file.and_then(|file| read(file, &mut head));
        count.map_or(ExecutableFormat::Unreadable, |count| ExecutableFormat::of(head.get(..count).unwrap_or_default()))
    }

    /// Why it cannot be executed, as a fragment.
    pub fn why(self) -> String {
        let name = |machine: u16| {
            let known = MACHINES.iter().find(|(number, _)| *number == machine);
            known.map_or_else(|| format!("machine type {machine}"), |(_, name)| (*name).to_owned())
        };
        match self {
            ExecutableFormat::Text => {
                "a script without a #! line, and /bin/sh, which would run it, is not there".to_owned()
            }
            ExecutableFormat::Empty => "the file is empty".to_owned(),
            ExecutableFormat::Elf(machine) if name(machine) == std::env::consts::ARCH => {
                "a program for this machine that the kernel does not accept: damaged, or for another ABI".to_owned()
            }
            ExecutableFormat::Elf(machine) => {
                format!("built for {}, and this machine is {}", name(machine), std::env::consts::ARCH)
            }
            ExecutableFormat::Foreign(system) => format!("a program for {system}"),
            ExecutableFormat::Binary => "neither a program for this machine nor a script: it has NUL bytes".to_owned(),
            ExecutableFormat::Unreadable => "not a program for this machine, and it may not be read".to_owned(),
        }
    }
}

/// What a file wants to be run by: the program of its `#!` line, or the loader of an ELF file.
pub fn interpreter(file: &Path) -> Option<String> {
    let mut head = Vec::new();
    File::open(file).ok()?.take(FAR as u64).read_to_end(&mut head).ok()?;
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next()?;
        let words = String::from_utf8_lossy(line).into_owned();
        let word = words.trim_start_matches([' ', '\t']).split([' ', '\t']).next()?;
        return Some(match word.strip_suffix('\r') {
            Some(word) => format!("{word}, with a carriage return after it: the file has Windows line endings"),
            None => word.to_owned(),
        });
    }
    loader(&head)
}

/// PT_INTERP of a 64-bit little-endian ELF file (elf(5)).
fn loader(head: &[u8]) -> Option<String> {
    const PT_INTERP: u64 = 3;
    let number = |at: usize, size: usize| {
        let bytes = head.get(at..at.checked_add(size)?)?;
        Some(bytes.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte)))
    };
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (table, size, count) = (number(32, 8)? as usize, number(54, 2)? as usize, number(56, 2)? as usize);
    (0..count).find_map(|index| {
        let entry = table.checked_add(index.checked_mul(size)?)?;
        if number(entry, 4)? != PT_INTERP {
            return None;
        }
        let (offset, length) = (number(entry + 8, 8)? as usize, number(entry + 32, 8)? as usize);
        let name = head.get(offset..offset.checked_add(length)?)?;
        Some(String::from_utf8_lossy(name.strip_suffix(b"\0").unwrap_or(name)).into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_what_a_file_is() {
        let elf = |order: u8, machine: [u8; 2]| {
            let mut head = vec![0; 64];
            head[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, order]);
            head[18..20].copy_from_slice(&machine);
            ExecutableFormat::of(&head)
        };
        assert_eq!(elf(1, [183, 0]), ExecutableFormat::Elf(183));
        assert_eq!(elf(2, [0, 22]), ExecutableFormat::Elf(22));
        assert!(ExecutableFormat::Elf(183).why().starts_with("built for aarch64") || cfg!(target_arch = "aarch64"));
        for (head, format) in [
            (&b""[..], ExecutableFormat::Empty),
            (b"echo hello\n", ExecutableFormat::Text),
            (b"#", ExecutableFormat::Text),
            (b"\x7fELF", ExecutableFormat::Text),
            (b"MZ\x90\0\x03", ExecutableFormat::Foreign("Windows")),
            (b"MZ=1; echo $MZ\n", ExecutableFormat::Text),
            (b"\xcf\xfa\xed\xfe\x07", ExecutableFormat::Foreign("macOS")),
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", ExecutableFormat::Binary),
            (b"a\0", ExecutableFormat::Binary),
            ("höchst\n".as_bytes(), ExecutableFormat::Text),
        ] {
            assert_eq!(ExecutableFormat::of(head), format, "{head:?}");
        }
    }

    #[test]
    fn the_interpreter_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("script");
        for (text, named) in [
            ("#!/bin/nosh\n", Some("/bin/nosh")),
            ("#! /usr/bin/env python\n", Some("/usr/bin/env")),
            (
                "#!/bin/sh\r\necho\r\n",
                Some("/bin/sh, with a carriage return after it: the file has Windows line endings"),
            ),
            ("echo\n", None),
            ("\x7fELF\x02\x01", None),
        ] {
            std::fs::write(&path, text).expect("our own");
            assert_eq!(interpreter(&path).as_deref(), named, "{text:?}");
        }
        let system = interpreter(Path::new("/usr/bin/env")).expect("a dynamic program");
        assert!(system.starts_with("/lib"), "{system}");
    }
}
