use super::*;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

#[test]
fn what_is_made_is_removed_and_nothing_else() {
    let folder = folder();
    let path = folder.path().join("draining");
    let made = create(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    assert_eq!(create(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    made.remove().unwrap();
    assert!(!path.exists());

    // Removed by somebody already.
    let made = create(&path).unwrap();
    fs::remove_file(&path).unwrap();
    made.remove().unwrap();

    // Somebody else's by now.
    let made = create(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "").unwrap();
    assert!(made.remove().unwrap_err().to_string().contains("another file"));
    assert!(path.exists());
}

#[test]
fn nothing_is_made_through_a_link() {
    let folder = folder();
    let (path, victim) = (folder.path().join("link"), folder.path().join("victim"));
    symlink(&victim, &path).unwrap();
    assert!(create(&path).is_err());
    assert!(replace(&path, b"x").unwrap_err().to_string().contains("a symbolic link"));
    assert!(append(&path, b"x", 9, true).unwrap_err().to_string().contains("a symbolic link"));
    assert!(remove_stale(&path).unwrap_err().to_string().contains("a symbolic link"));
    assert_eq!(names(folder.path()), ["link"]);
}

#[test]
fn only_an_empty_file_is_stale() {
    let folder = folder();
    let path = folder.path().join("draining");
    remove_stale(&path).unwrap();
    fs::write(&path, "content").unwrap();
    assert!(remove_stale(&path).unwrap_err().to_string().contains("content (7 bytes)"));
    assert_eq!(fs::read(&path).unwrap(), b"content");
    fs::write(&path, "").unwrap();
    remove_stale(&path).unwrap();
    assert!(!path.exists());
    fs::create_dir(&path).unwrap();
    assert!(remove_stale(&path).unwrap_err().to_string().contains("a directory"));
    let socket = folder.path().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    assert!(remove_stale(&socket).unwrap_err().to_string().contains("a socket"));
    assert!(socket.exists());
}

#[test]
fn a_file_is_replaced_in_one_step_and_keeps_its_mode() {
    let folder = folder();
    let path = folder.path().join("report");
    replace(&path, b"first").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let mut reader = File::open(&path).unwrap();
    replace(&path, b"second").unwrap();
    let mut seen = String::new();
    reader.read_to_string(&mut seen).unwrap();
    assert_eq!((seen.as_str(), fs::read(&path).unwrap().as_slice()), ("first", b"second".as_slice()));
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
    assert_eq!(names(folder.path()), ["report"], "nothing is left beside it");
    // The old file had another name: that one keeps what it was.
    fs::hard_link(&path, folder.path().join("other")).unwrap();
    replace(&path, b"third").unwrap();
    assert_eq!(fs::read(folder.path().join("other")).unwrap(), b"second");
}

#[test]
fn what_is_appended_gets_a_line_of_its_own_and_has_an_end() {
    let folder = folder();
    let path = folder.path().join("log");
    assert_eq!(append(&path, b"a\n", 99, false).unwrap_err().kind(), io::ErrorKind::NotFound);
    append(&path, b"a\n", 99, true).unwrap();
    append(&path, b"b", 99, false).unwrap();
    append(&path, b"c\n", 99, false).unwrap();
    append(&path, b"too long\n", 10, false).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"a\nb\nc\n");
    fs::hard_link(&path, folder.path().join("other")).unwrap();
    assert!(append(&path, b"d\n", 99, true).unwrap_err().to_string().contains("second name"));
}

#[test]
fn links_of_our_own_on_the_way_are_followed_and_dots_too() {
    let folder = folder();
    fs::create_dir_all(folder.path().join("a/b")).unwrap();
    symlink("a/b", folder.path().join("relative")).unwrap();
    symlink(folder.path().join("a"), folder.path().join("absolute")).unwrap();
    symlink("loop", folder.path().join("loop")).unwrap();
    for (way, file) in [("relative/x", "a/b/x"), ("absolute/y", "a/y"), ("relative/../z", "a/z"), ("a/./b/../w", "a/w")]
    {
        replace(&folder.path().join(way), b"1").unwrap();
        assert!(folder.path().join(file).exists(), "{way}");
    }
    let error = replace(&folder.path().join("loop/x"), b"1").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
    let error = replace(&folder.path().join("a/w/x"), b"1").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOTDIR));
    assert_eq!(replace(&folder.path().join("no/x"), b"1").unwrap_err().kind(), io::ErrorKind::NotFound);
    // The kernel's own links are not text.
    let through = PathBuf::from(format!("/proc/self/root{}", folder.path().join("through").display()));
    replace(&through, b"1").unwrap();
    assert!(folder.path().join("through").exists());
}

#[test]
fn a_descriptor_is_known_by_its_spelling() {
    let own = format!("/proc/{}/fd/4", std::process::id());
    for (path, fd) in
        [("/dev/stderr", Some(2)), ("/dev/fd/63", Some(63)), ("/proc/self/fd/1", Some(1)), (&own, Some(4))]
    {
        assert_eq!(descriptor(Path::new(path)), fd, "{path}");
    }
    for path in ["/dev/fd/", "/dev/fd/x", "/dev/fd/-1", "/dev/null", "/proc/1/fd/2", "fd/2"] {
        assert_eq!(descriptor(Path::new(path)), None, "{path}");
    }
    for (path, part) in
        [("/dev/stdout", "belongs to the app"), ("/dev/stdin", "standard input"), ("/dev/fd/987", "987")]
    {
        assert!(obstacle(Path::new(path), Purpose::Replace).unwrap().contains(part), "{path}");
    }
    assert_eq!(obstacle(Path::new("/dev/stderr"), Purpose::Append), None);
    assert!(obstacle(Path::new("/dev/stderr"), Purpose::Create).is_some());
}

#[test]
fn what_is_read_has_an_end() {
    let folder = folder();
    let path = folder.path().join("config");
    fs::write(&path, [b'x'; 10]).unwrap();
    assert_eq!(read(&path, 10).unwrap().len(), 10);
    assert!(read(&path, 9).is_err());
    assert_eq!(read(Path::new("/dev/null"), 9).unwrap(), b"");
    assert!(read(Path::new("/dev/zero"), 9).unwrap_err().to_string().contains("a device"));
    assert!(read(folder.path(), 9).unwrap_err().to_string().contains("a directory"));
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(read(&fifo, 9).unwrap_err().to_string().contains("a FIFO"));
}
