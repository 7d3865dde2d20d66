// SPDX-License-Identifier: LGPL-2.1-or-later
//! Two processes in Rust share a list in a segment: a VAS, a lock, a heap.
//!
//! The segment is lockable, so that only one process at a time is in the VAS: `vas_switch()` takes
//! the lock, and gives it back on the way home.  References into the segment live no longer than
//! the stay in the VAS: `Vas::inside()` lends them to a closure.
//!
//!     rustc -L DIRECTORY shared-list.rs

use std::ffi::{c_void, CString};
use std::os::raw::{c_char, c_int, c_uint};
use std::{env, io, process, ptr};

#[link(name = "pvvas")]
extern "C" {
    fn vas_create(name: *const c_char, perms: c_uint) -> c_int;
    fn vas_find(name: *const c_char) -> c_int;
    fn vas_attach(vid: c_int) -> c_int;
    fn vas_delete(vid: c_int) -> c_int;
    fn vas_switch(vh: c_int) -> c_int;
    fn vas_current() -> c_int;
    fn vas_malloc(size: usize) -> *mut c_void;
    fn vas_root() -> *mut *mut Node;
    fn seg_alloc(name: *const c_char, base: *mut c_void, size: usize, perms: c_uint) -> c_int;
    fn seg_attach(vid_or_vh: c_int, sid: c_int) -> c_int;
    fn seg_ctl(sid: c_int, cmd: c_int, ...) -> c_int;
}

const VAS_HOME: c_int = 0;
const SEG_CTL_LOCK_ON: c_int = 0x5300_0004;
const COUNT: i64 = 1000;

#[repr(C)]
struct Node {
    next: *mut Node,
    number: i64,
}

fn checked(result: c_int) -> io::Result<c_int> {
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result));
    }
    Ok(result)
}

/// An attachment of this process.
struct Vas(c_int);

impl Vas {
    fn attach(name: &CString) -> io::Result<Vas> {
        let vid = checked(unsafe { vas_find(name.as_ptr()) })?;
        Ok(Vas(checked(unsafe { vas_attach(vid) })?))
    }

    /// Go in, with the lock, and come back.  The closure gets the first node's place.
    fn inside<T>(&self, work: impl FnOnce(&mut *mut Node) -> io::Result<T>) -> io::Result<T> {
        checked(unsafe { vas_switch(self.0) })?;
        let root = unsafe { vas_root() };
        let result = if root.is_null() {
            Err(io::Error::last_os_error())
        } else {
            work(unsafe { &mut *root })
        };
        checked(unsafe { vas_switch(VAS_HOME) })?;
        result
    }
}

fn push(first: &mut *mut Node, number: i64) -> io::Result<()> {
    let node = unsafe { vas_malloc(std::mem::size_of::<Node>()) } as *mut Node;
    if node.is_null() {
        return Err(io::Error::last_os_error());
    }
    unsafe { ptr::write(node, Node { next: *first, number }) };
    *first = node;
    Ok(())
}

fn pushes(name: &CString, from: i64) -> io::Result<()> {
    let vas = Vas::attach(name)?;
    for number in (from..COUNT).step_by(2) {
        vas.inside(|first| push(first, number))?;
    }
    Ok(())
}

fn run(name: &CString) -> io::Result<()> {
    let sid = checked(unsafe { seg_alloc(ptr::null(), ptr::null_mut(), 1 << 20, 0o600) })?;
    checked(unsafe { seg_ctl(sid, SEG_CTL_LOCK_ON) })?;
    checked(unsafe { seg_attach(vas_find(name.as_ptr()), sid) })?;
    let mut child = process::Command::new(env::current_exe()?)
        .arg(name.to_str().unwrap())
        .spawn()?;
    pushes(name, 1)?;
    assert!(child.wait()?.success());
    let mut numbers = Vas::attach(name)?.inside(|first| {
        let mut numbers = Vec::new();
        let mut node = *first;
        while !node.is_null() {
            numbers.push(unsafe { (*node).number });
            node = unsafe { (*node).next };
        }
        Ok(numbers)
    })?;
    assert_eq!(unsafe { vas_current() }, VAS_HOME);
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..COUNT));
    println!("{} numbers of two processes, all there", numbers.len());
    Ok(())
}

fn main() -> io::Result<()> {
    if let Some(name) = env::args().nth(1) {
        return pushes(&CString::new(name)?, 0);
    }
    let name = CString::new(format!("shared-list-{}", process::id()))?;
    let vid = checked(unsafe { vas_create(name.as_ptr(), 0o600) })?;
    let result = run(&name);
    checked(unsafe { vas_delete(vid) })?;
    result
}
