//! The system's allocator, told to keep less.

/// Has what is large go back to the system once it is free. By itself the allocator takes ever larger pieces from what it
/// keeps, as it sees them come and go, and what lies between pieces in use stays: a third of the memory of a long run that writes
/// checkpoints. Pages that come back have to be made anew, which is 5 % of the CPU time of reading as fast as can be.
pub fn give_back_what_is_large() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const LARGE_BYTES: libc::c_int = 512 << 10;
        // SAFETY: it takes two integers, and may be called at any time.
        unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES) };
    }
}

/// Gives back the whole pages of what is free between pieces in use: after much has come and gone a quarter of the memory. Takes some
/// milliseconds for each arena, in which those who allocate there wait.
pub fn give_back_what_is_free() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes an integer, and may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
