//! How a peer is named on the command line.

use std::str::FromStr;

/// Where the other agent is, and how it is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSpec {
    text: String,
    argv: Vec<String>,
    ssh: bool,
}

impl FromStr for PeerSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(host) = text.strip_prefix("ssh:") {
            let fine = |c: char| c.is_ascii_alphanumeric() || "._-@:%[]".contains(c);
            if host.is_empty()
                || host.starts_with(['-', '@'])
                || host.ends_with('@')
                || !host.chars().all(fine)
            {
                return Err(format!(
                    "`{host}` is not a host that ssh can be given: say ssh:HOST or ssh:USER@HOST"
                ));
            }
            let words = ["ssh", "-T", "--", host, "unsplit", "agent", "--stdio"];
            let argv = words.map(str::to_owned).to_vec();
            return Ok(PeerSpec { text: text.to_owned(), argv, ssh: true });
        }
        if let Some(line) = text.strip_prefix("exec:") {
            let argv = shlex::split(line).ok_or("the command's quotes are not closed")?;
            if argv.first().is_none_or(String::is_empty) || text.contains(char::is_control) {
                return Err("exec: needs a command, such as `exec:unsplit agent --stdio`".to_owned());
            }
            return Ok(PeerSpec { text: text.to_owned(), argv, ssh: false });
        }
        Err("say ssh:HOST, ssh:USER@HOST, or exec:COMMAND".to_owned())
    }
}

impl PeerSpec {
    /// The program and its words.
    #[must_use]
    pub fn argv(&self) -> &[String] {
        &self.argv
    }

    /// Whether ssh carries the stream.
    #[must_use]
    pub fn is_ssh(&self) -> bool {
        self.ssh
    }

    /// As it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl std::fmt::Display for PeerSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_named() {
        let argv = |text: &str| text.parse::<PeerSpec>().map(|spec| spec.argv().join("|"));
        assert_eq!(argv("ssh:root@n2").unwrap(), "ssh|-T|--|root@n2|unsplit|agent|--stdio");
        assert_eq!(argv("exec:a 'b c' d").unwrap(), "a|b c|d");
        for bad in
            ["", "n2", "ssh:", "ssh:-oProxyCommand=x", "ssh:a b", "ssh:@h", "exec:", "exec:'a", "exec:\n"]
        {
            assert!(argv(bad).is_err(), "{bad}");
        }
    }
}
