//! The configuration as `drbdadm dump-xml` prints it, for both generations: which resources this node has, their devices,
//! the other nodes, and the options of their connections. 8.4's tools print no `<connection>`.

use crate::model::node::{Configured, ConfiguredOption, ConfiguredVolume};
use roxmltree::{Document, Node, ParsingOptions};

/// Most elements and texts of one document: some 20,000 resources.
const NODES: u32 = 1 << 20;
/// Options that are kept of a connection. Secrets and the names of keys are not among them.
const KEPT: [&str; 16] = [
    "protocol",
    "after-sb-0pri",
    "after-sb-1pri",
    "after-sb-2pri",
    "always-asbp",
    "rr-conflict",
    "allow-two-primaries",
    "fencing",
    "data-integrity-alg",
    "verify-alg",
    "csums-alg",
    "cram-hmac-alg",
    "on-congestion",
    "ping-timeout",
    "timeout",
    "connect-int",
];

/// The text is not such a dump.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("what `drbdadm dump-xml` printed cannot be read: {0}")]
pub struct NotADump(String);

/// The resources of the node `host`, in the order of the configuration. Those that it has no part in are left out.
///
/// # Errors
/// [`NotADump`].
pub fn resources(dump: &str, host: &str) -> Result<Vec<Configured>, NotADump> {
    let options = ParsingOptions { allow_dtd: false, nodes_limit: NODES, ..ParsingOptions::default() };
    let document =
        Document::parse_with_options(dump, options).map_err(|error| NotADump(error.to_string()))?;
    let root = document.root_element();
    if root.tag_name().name() != "config" {
        return Err(NotADump("there is no <config>".to_owned()));
    }
    let common: Vec<_> = children(root, "common").flat_map(net).collect();
    Ok(children(root, "resource").filter_map(|resource| configured(resource, host, &common)).collect())
}

fn children<'a, 'i: 'a>(node: Node<'a, 'i>, name: &'static str) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(move |child| child.has_tag_name(name))
}

fn text(node: Node<'_, '_>) -> Option<String> {
    node.text().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn configured(resource: Node<'_, '_>, host: &str, common: &[ConfiguredOption]) -> Option<Configured> {
    let name = resource.attribute("name")?.to_owned();
    // A host element may name several hosts, apart by blanks, in stacked resources.
    let names = |node: Node<'_, '_>| -> Vec<String> {
        node.attribute("name").unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    };
    let (mine, others): (Vec<_>, Vec<_>) =
        children(resource, "host").partition(|node| names(*node).iter().any(|name| name == host));
    let mine = mine.first()?;
    let mut net_options = common.to_vec();
    overlay(&mut net_options, net(resource));
    let mut connections = children(resource, "connection")
        .filter(|node| children(*node, "host").any(|end| names(end).iter().any(|name| name == host)));
    if let (Some(only), None) = (connections.next(), connections.next()) {
        overlay(&mut net_options, net(only));
    }
    Some(Configured {
        resource: name,
        volumes: children(*mine, "volume").filter_map(volume).collect(),
        peers: others.into_iter().flat_map(names).collect(),
        net: net_options,
    })
}

fn overlay(options: &mut Vec<ConfiguredOption>, more: impl IntoIterator<Item = ConfiguredOption>) {
    for option in more {
        options.retain(|known| known.name != option.name);
        options.push(option);
    }
}

fn net<'a, 'i: 'a>(node: Node<'a, 'i>) -> Vec<ConfiguredOption> {
    children(node, "section")
        .filter(|section| section.attribute("name") == Some("net"))
        .flat_map(|section| children(section, "option"))
        .filter_map(|option| {
            let name = option.attribute("name").filter(|name| KEPT.contains(name))?;
            // A flag without a value is set.
            let value = option.attribute("value").unwrap_or("yes");
            Some(ConfiguredOption { name: name.to_owned(), value: value.to_owned() })
        })
        .collect()
}

fn volume(node: Node<'_, '_>) -> Option<ConfiguredVolume> {
    let first = |name| children(node, name).next();
    let meta = first("meta-disk").or_else(|| first("flexible-meta-disk"));
    Some(ConfiguredVolume {
        volume: node.attribute("vnr")?.parse().ok()?,
        minor: first("device").and_then(|device| device.attribute("minor")?.parse().ok()),
        disk: first("disk").and_then(text).filter(|disk| disk != "none"),
        meta_disk: meta.and_then(|meta| {
            let path = text(meta)?;
            Some(match meta.attribute("index") {
                Some(index) if index.bytes().all(|byte| byte.is_ascii_digit()) => format!("{path}[{index}]"),
                _ => path,
            })
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As drbdadm 9.22 prints it.
    const NINE: &str = r#"<config file="/etc/drbd.conf">
    <common><section name="net"><option name="after-sb-0pri" value="discard-zero-changes"/></section></common>
    <resource name="r0" conf-file-line="/etc/drbd.d/r0.res:1">
        <host name="node1">
            <volume vnr="0"><device minor="1"></device><disk>/dev/vdb</disk><meta-disk>internal</meta-disk></volume>
            <address family="ipv4" port="7788">10.9.0.1</address>
        </host>
        <host name="node2">
            <volume vnr="0"><device minor="1"></device><disk>/dev/sdz</disk><meta-disk index="3">/dev/md1</meta-disk></volume>
            <address family="ipv4" port="7788">10.9.0.2</address>
        </host>
        <connection>
            <host name="node1"><address family="ipv4" port="7788">10.9.0.1</address></host>
            <host name="node2"><address family="ipv4" port="7788">10.9.0.2</address></host>
            <section name="net"><option name="after-sb-0pri" value="discard-least-changes"/></section>
        </connection>
        <section name="net">
            <option name="protocol" value="C"/>
            <option name="shared-secret" value="hunter2"/>
            <option name="always-asbp" value="yes"/>
        </section>
    </resource>
    <resource name="multi">
        <host name="node1"><volume vnr="1"><device minor="11">/dev/drbd11</device><disk>none</disk><meta-disk>internal</meta-disk></volume></host>
        <host name="node2"><volume vnr="1"><device minor="11"></device><disk>/dev/b</disk><meta-disk>internal</meta-disk></volume></host>
        <host name="node3"><volume vnr="1"><device minor="11"></device><disk>/dev/b</disk><meta-disk>internal</meta-disk></volume></host>
    </resource>
    <resource name="elsewhere"><host name="x"></host><host name="y"></host></resource>
</config>"#;

    #[test]
    fn a_dump_is_read_from_each_nodes_point_of_view() {
        let here = resources(NINE, "node1").unwrap();
        assert_eq!(here.iter().map(|r| r.resource.as_str()).collect::<Vec<_>>(), ["r0", "multi"]);
        let r0 = &here[0];
        assert_eq!(r0.peers, ["node2"]);
        let disk = |path: &str| Some(path.to_owned());
        let volume = |volume, minor, path, meta: &str| ConfiguredVolume {
            volume,
            minor: Some(minor),
            disk: path,
            meta_disk: disk(meta),
        };
        assert_eq!(r0.volumes, [volume(0, 1, disk("/dev/vdb"), "internal")]);
        let option =
            |name: &str, value: &str| ConfiguredOption { name: name.to_owned(), value: value.to_owned() };
        assert_eq!(
            r0.net,
            [
                option("protocol", "C"),
                option("always-asbp", "yes"),
                option("after-sb-0pri", "discard-least-changes")
            ]
        );
        assert_eq!(here[1].volumes, [volume(1, 11, None, "internal")]);
        assert_eq!(here[1].peers, ["node2", "node3"]);
        let there = resources(NINE, "node2").unwrap();
        assert_eq!(there[0].volumes, [volume(0, 1, disk("/dev/sdz"), "/dev/md1[3]")]);
        assert_eq!(resources(NINE, "node9").unwrap(), []);
    }

    #[test]
    fn secrets_are_not_kept() {
        let all = format!("{:?}", resources(NINE, "node1").unwrap());
        assert!(!all.contains("hunter2") && !all.contains("shared-secret"));
    }

    #[test]
    fn other_texts_are_refused() {
        for bad in ["", "<config>", "<html/>", "<!DOCTYPE a [<!ENTITY b \"c\">]><config>&b;</config>"] {
            assert!(resources(bad, "node1").is_err(), "{bad}");
        }
        assert_eq!(resources("<config/>", "node1").unwrap(), []);
    }
}
