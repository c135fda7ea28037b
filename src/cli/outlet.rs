//! Standard output, which may end before the work does: its reader goes away, or the disk that it goes to is full. What is then
//! left to say is said on standard error, so that nobody has to guess what was done.

use std::io::{self, Write};

/// What happened to the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    /// Its reader went away (`| head`).
    Left,
    /// It could not be written.
    Broken,
}

/// The output, and what takes its place. Writing to it never fails.
pub(super) struct Outlet {
    to: Box<dyn Write>,
    beside: Box<dyn Write>,
    /// A reader that went away wants to hear no more, unless what is said is what was done.
    tell_always: bool,
    state: State,
    /// The line that was begun: what takes lines may not have passed it on.
    begun: Vec<u8>,
}

impl Outlet {
    pub(super) fn new(to: Box<dyn Write>, beside: Box<dyn Write>) -> Self {
        Outlet { to, beside, tell_always: false, state: State::Whole, begun: Vec::new() }
    }

    /// The rest is told even when the reader went away.
    pub(super) fn tell_always(&mut self) {
        self.tell_always = true;
    }

    /// Whether something could not be written, for another reason than that the reader went away.
    pub(super) fn is_broken(&self) -> bool {
        self.state == State::Broken
    }

    fn goes_on_beside(&self) -> bool {
        self.state == State::Broken || (self.state == State::Left && self.tell_always)
    }

    /// From now on everything goes to the other place.
    fn turn(&mut self, error: &io::Error) {
        self.state = if error.kind() == io::ErrorKind::BrokenPipe { State::Left } else { State::Broken };
        if self.goes_on_beside() {
            // Nobody is left to tell when this fails, too.
            let _ = writeln!(self.beside, "the output could not be written ({error}); it goes on here:");
            let _ = self.beside.write_all(&self.begun);
        }
    }

    fn beside(&mut self, bytes: &[u8]) {
        if self.goes_on_beside() {
            let _ = self.beside.write_all(bytes);
        }
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        while self.state == State::Whole {
            match self.to.write(bytes) {
                Ok(0) if !bytes.is_empty() => self.turn(&io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.begun.extend_from_slice(&bytes[..count]);
                    if let Some(end) = self.begun.iter().rposition(|byte| *byte == b'\n') {
                        self.begun.drain(..=end);
                    }
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.turn(&error),
            }
        }
        self.beside(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.state == State::Whole
            && let Err(error) = self.to.flush()
        {
            self.turn(&error);
        }
        if self.state != State::Whole {
            let _ = self.beside.flush();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// Takes so many bytes, then fails so.
    struct Narrow(usize, io::ErrorKind);

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.0);
            self.0 -= count;
            if count == 0 { Err(self.1.into()) } else { Ok(count) }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<u8>>>);

    impl Write for Heard {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn heard(kind: io::ErrorKind, always: bool) -> (String, bool) {
        let beside = Heard::default();
        let mut outlet = Outlet::new(Box::new(Narrow(6, kind)), Box::new(beside.clone()));
        if always {
            outlet.tell_always();
        }
        outlet.write_all(b"one\ntwo\nthree\n").unwrap();
        outlet.write_all(b"four\n").unwrap();
        outlet.flush().unwrap();
        let text = String::from_utf8(beside.0.lock().unwrap().clone()).unwrap();
        (text, outlet.is_broken())
    }

    #[test]
    fn the_rest_is_said_elsewhere() {
        let (text, broken) = heard(io::ErrorKind::StorageFull, false);
        assert!(broken && text.starts_with("the output could not be written (no storage space"), "{text}");
        assert!(text.ends_with("it goes on here:\ntwo\nthree\nfour\n"), "{text}");
        assert_eq!(heard(io::ErrorKind::BrokenPipe, false), (String::new(), false));
        let (text, broken) = heard(io::ErrorKind::BrokenPipe, true);
        assert!(!broken && text.ends_with("it goes on here:\ntwo\nthree\nfour\n"), "{text}");
    }
}
