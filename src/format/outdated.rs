//! What a peer says when it is asked to declare its data outdated: the words of its own drbdadm.

/// What a shell over there runs for [`parse`]. `resource` must be a plain name.
#[must_use]
pub fn command(resource: &str) -> String {
    format!(
        "PATH=/sbin:/usr/sbin:/bin:/usr/bin:$PATH LC_ALL=C; export PATH LC_ALL; \
         echo unsplit-host; uname -n; echo unsplit-boot; cat /proc/sys/kernel/random/boot_id; \
         drbdadm outdate {resource} > /dev/null 2>&1; \
         echo unsplit-role; drbdadm role {resource}; echo unsplit-dstate; drbdadm dstate {resource}; echo unsplit-end"
    )
}

/// What is known of the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// It is Secondary, and the data of every volume is Outdated, or worse for some.
    Outdated,
    /// It is Secondary, and the data of every volume is Inconsistent.
    Inconsistent,
    /// It is Primary.
    Primary,
    /// It did not do it, or not yet; its state.
    NotYet(String),
    /// It is not the peer, or its answer proves nothing; why.
    Unclear(String),
}

/// Reads the answer. `host`: the peer's name, where DRBD gave it. `boot`: this node's boot id, so that a node that asks
/// itself is noticed.
#[must_use]
pub fn parse(answer: &str, host: Option<&str>, boot: Option<&str>) -> Peer {
    let unclear = |why: &str| Peer::Unclear(why.to_owned());
    let Some((found_host, rest)) = section(answer, "unsplit-host", "unsplit-boot") else {
        return unclear("it does not begin as it should");
    };
    let Some((found_boot, rest)) = section(rest, "", "unsplit-role") else { return unclear("no boot id") };
    let Some((role, rest)) = section(rest, "", "unsplit-dstate") else { return unclear("no role") };
    let Some((disks, _)) = section(rest, "", "unsplit-end") else { return unclear("it was cut off") };
    if boot.is_some_and(|boot| found_boot.contains(&boot)) {
        return unclear("it is this node itself");
    }
    if let (Some(host), [found]) = (host, &found_host[..])
        && host != *found
    {
        return Peer::Unclear(format!("it calls itself {found:.128}, and the peer is {host}"));
    }
    // 8.4: `Secondary/Unknown`, 9: `Secondary`; ours is the first.
    let first = |line: &&str| line.split('/').next().unwrap_or_default().to_owned();
    let roles: Vec<String> = role.iter().map(first).collect();
    let disks: Vec<String> = disks.iter().map(first).collect();
    let state = || format!("{:.64} {:.200}", roles.join(","), disks.join(","));
    if roles.is_empty() || disks.is_empty() {
        return unclear("it told no role or no disk state: is the resource up there?");
    }
    if roles.iter().any(|role| role == "Primary") {
        return Peer::Primary;
    }
    if !roles.iter().all(|role| role == "Secondary") {
        return Peer::Unclear(state());
    }
    match () {
        () if disks.iter().all(|disk| disk == "Inconsistent") => Peer::Inconsistent,
        () if disks.iter().all(|disk| disk == "Inconsistent" || disk == "Outdated") => Peer::Outdated,
        () if disks.iter().all(|disk| KNOWN.contains(&disk.as_str())) => Peer::NotYet(state()),
        () => Peer::Unclear(state()),
    }
}

/// States of a disk that are better than Outdated, or on the way to one.
const KNOWN: [&str; 6] = ["UpToDate", "Consistent", "Outdated", "Inconsistent", "Attaching", "Negotiating"];

/// The lines before the line `end`, without empty ones, and what follows; after a line `start` if one is given.
fn section<'a>(text: &'a str, start: &str, end: &str) -> Option<(Vec<&'a str>, &'a str)> {
    let mut rest = text;
    let mut lines = Vec::new();
    let mut inside = start.is_empty();
    while !rest.is_empty() {
        let (line, behind) = rest.split_once('\n').unwrap_or((rest, ""));
        let line = line.trim();
        rest = behind;
        if inside && line == end {
            return Some((lines, rest));
        }
        if inside && !line.is_empty() {
            lines.push(line);
        }
        inside = inside || line == start;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(role: &str, disks: &str) -> String {
        format!(
            "motd\nunsplit-host\nnode2\nunsplit-boot\nb2\nunsplit-role\n{role}\nunsplit-dstate\n{disks}\nunsplit-end\n"
        )
    }

    fn peer(role: &str, disks: &str) -> Peer {
        parse(&answer(role, disks), Some("node2"), Some("b1"))
    }

    #[test]
    fn only_what_is_proven_is_claimed() {
        assert_eq!(peer("Secondary/Unknown", "Outdated/DUnknown"), Peer::Outdated);
        assert_eq!(peer("Secondary", "Outdated/UpToDate\nInconsistent"), Peer::Outdated);
        assert_eq!(peer("Secondary", "Inconsistent/DUnknown"), Peer::Inconsistent);
        assert_eq!(peer("Primary/Unknown", "UpToDate/Outdated"), Peer::Primary);
        assert!(matches!(peer("Secondary", "UpToDate/UpToDate"), Peer::NotYet(_)));
        assert!(matches!(peer("Secondary", "Outdated\nUpToDate"), Peer::NotYet(_)));
        for (role, disks) in [
            ("Secondary", ""),
            ("", "Outdated"),
            ("Unknown", "Outdated"),
            ("Secondary", "Diskless"),
            ("Unconfigured", "Unconfigured"),
        ] {
            assert!(matches!(peer(role, disks), Peer::Unclear(_)), "{role} {disks}");
        }
    }

    #[test]
    fn another_node_and_a_cut_answer_prove_nothing() {
        let whole = answer("Secondary", "Outdated");
        assert!(matches!(parse(&whole, Some("node3"), None), Peer::Unclear(_)));
        assert!(matches!(parse(&whole, Some("node2"), Some("b2")), Peer::Unclear(_)), "we asked ourselves");
        assert_eq!(parse(&whole, None, None), Peer::Outdated);
        for cut in 0..whole.len() - 1 {
            assert!(matches!(parse(&whole[..cut], None, None), Peer::Unclear(_)), "cut at {cut}");
        }
    }
}
