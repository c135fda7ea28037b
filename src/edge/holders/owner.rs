//! What a process is part of, and so what ends it well: a guest, a container, a service.

use crate::model::node::DeviceUser;

/// What `/proc` says of a process.
#[derive(Debug, Clone, Default)]
pub(super) struct Process {
    pub(super) pid: u32,
    /// Its short name.
    pub(super) name: String,
    pub(super) words: Vec<String>,
    /// `/proc/PID/cgroup`
    pub(super) cgroups: String,
}

impl Process {
    /// As a user of a device: `process 4711 (kvm), guest 101 (web)`.
    pub(super) fn as_user(&self) -> DeviceUser {
        let who = format!("process {} ({})", self.pid, self.name);
        let (of, ends_with) =
            self.guest().or_else(|| self.container()).or_else(|| self.service()).unwrap_or_default();
        let who = if of.is_empty() { who } else { format!("{who}, {of}") };
        let ends_with = if ends_with.is_empty() { format!("kill {}", self.pid) } else { ends_with };
        DeviceUser { who, ends_with: Some(ends_with) }
    }

    fn option(&self, flag: &str) -> Option<&str> {
        let at = self.words.iter().position(|word| word == flag)?;
        self.words.get(at + 1).map(String::as_str)
    }

    /// A virtual machine of QEMU.
    fn guest(&self) -> Option<(String, String)> {
        let program = self.words.first()?.rsplit('/').next()?;
        let is_machine = ["kvm", "qemu-kvm"].contains(&program) || program.starts_with("qemu-system");
        if !is_machine {
            return None;
        }
        let name = self.option("-name").map(|value| {
            let given = value.split(',').find_map(|part| part.strip_prefix("guest="));
            given.unwrap_or_else(|| value.split(',').next().unwrap_or(value)).to_owned()
        });
        // Proxmox VE numbers its guests, libvirt says `guest=`.
        if let Some(id) =
            self.option("-id").filter(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()))
        {
            let named = name.map_or_else(String::new, |name| format!(" ({name})"));
            return Some((format!("guest {id}{named}"), format!("qm shutdown {id}")));
        }
        let libvirt = self.option("-name").is_some_and(|value| value.contains("guest="))
            || self.cgroups.contains("machine-qemu");
        let name = name.filter(|name| !name.is_empty())?;
        let ends_with = if libvirt { format!("virsh shutdown {name}") } else { String::new() };
        Some((format!("guest {name}"), ends_with))
    }

    /// A container, by its control group.
    pub(super) fn container(&self) -> Option<(String, String)> {
        self.cgroup_paths().find_map(|path| {
            let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
            for (at, part) in parts.iter().enumerate() {
                let next = parts.get(at + 1).copied().unwrap_or_default();
                if *part == "lxc" && !next.is_empty() {
                    return Some(lxc(next));
                }
                if let Some(name) = part.strip_prefix("lxc.payload.") {
                    return Some(lxc(name));
                }
                for engine in ["docker", "libpod"] {
                    let scope = part.strip_prefix(engine).and_then(|rest| rest.strip_prefix('-'));
                    let id = scope
                        .map(|rest| rest.trim_end_matches(".scope"))
                        .or((*part == engine).then_some(next));
                    if let Some(id) =
                        id.filter(|id| id.len() >= 12 && id.bytes().all(|b| b.is_ascii_hexdigit()))
                    {
                        let (short, tool) = (&id[..12], if engine == "docker" { "docker" } else { "podman" });
                        return Some((format!("{tool} container {short}"), format!("{tool} stop {short}")));
                    }
                }
                if part.starts_with("kubepods") {
                    return Some(("a Kubernetes pod's container".to_owned(), String::new()));
                }
                let machine = part.strip_prefix("machine-").and_then(|rest| rest.strip_suffix(".scope"));
                if let Some(name) = machine {
                    let name = unescaped(name);
                    return Some((format!("machine {name}"), format!("machinectl poweroff {name}")));
                }
            }
            None
        })
    }

    /// A service of systemd.
    fn service(&self) -> Option<(String, String)> {
        let units = self
            .cgroup_paths()
            .filter_map(|path| path.split('/').rev().find(|part| part.ends_with(".service")).map(unescaped));
        let unit = units.into_iter().find(|unit| !unit.starts_with("user@"))?;
        Some((format!("service {unit}"), format!("systemctl stop {unit}")))
    }

    fn cgroup_paths(&self) -> impl Iterator<Item = &str> {
        self.cgroups.lines().filter_map(|line| line.splitn(3, ':').nth(2))
    }
}

/// Proxmox VE's containers are numbers.
fn lxc(name: &str) -> (String, String) {
    let ends_with = if name.bytes().all(|b| b.is_ascii_digit()) {
        format!("pct shutdown {name}")
    } else {
        format!("lxc-stop -n {name}")
    };
    (format!("container {name}"), ends_with)
}

/// systemd writes `-` in names as `\x2d`.
fn unescaped(name: &str) -> String {
    name.replace(r"\x2d", "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, words: &[&str], cgroups: &str) -> (String, String) {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        let process = Process { pid: 7, name: name.to_owned(), words, cgroups: cgroups.to_owned() };
        let DeviceUser { who, ends_with } = process.as_user();
        (who, ends_with.unwrap())
    }

    #[test]
    fn guests_are_named_with_what_ends_them() {
        let proxmox = ["/usr/bin/kvm", "-id", "101", "-name", "web,debug-threads=on", "-no-shutdown"];
        assert_eq!(
            user("kvm", &proxmox, "0::/qemu.slice/101.scope"),
            ("process 7 (kvm), guest 101 (web)".into(), "qm shutdown 101".into())
        );
        let libvirt = ["/usr/bin/qemu-system-x86_64", "-name", "guest=db1,debug-threads=on", "-S"];
        assert_eq!(
            user(
                "qemu-system-x86",
                &libvirt,
                r"0::/machine.slice/machine-qemu\x2d1\x2ddb1.scope/libvirt/emulator"
            ),
            ("process 7 (qemu-system-x86), guest db1".into(), "virsh shutdown db1".into())
        );
        assert_eq!(
            user("qemu-system-x86", &["qemu-system-x86_64", "-name", "bare"], "0::/user.slice"),
            ("process 7 (qemu-system-x86), guest bare".into(), "kill 7".into())
        );
        assert_eq!(user("kvm", &["kvm", "-name"], ""), ("process 7 (kvm)".into(), "kill 7".into()));
    }

    #[test]
    fn containers_and_services_are_named() {
        let hex = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        for (cgroups, of, ends_with) in [
            ("0::/lxc/102/ns/system.slice/mysql.service", "container 102", "pct shutdown 102"),
            ("0::/lxc.payload.web/init.scope", "container web", "lxc-stop -n web"),
            (
                &format!("12:cpu:/docker/{hex}\n0::/"),
                "docker container 0123456789ab",
                "docker stop 0123456789ab",
            ),
            (
                &format!("0::/machine.slice/libpod-{hex}.scope/container"),
                "podman container 0123456789ab",
                "podman stop 0123456789ab",
            ),
            (r"0::/machine.slice/machine-a\x2db.scope/payload", "machine a-b", "machinectl poweroff a-b"),
            (
                "0::/system.slice/nbd-server.service",
                "service nbd-server.service",
                "systemctl stop nbd-server.service",
            ),
            (
                r"0::/system.slice/system-a.slice/my\x2dapp@1.service",
                "service my-app@1.service",
                "systemctl stop my-app@1.service",
            ),
        ] {
            assert_eq!(
                user("x", &["x"], cgroups),
                (format!("process 7 (x), {of}"), ends_with.to_owned()),
                "{cgroups}"
            );
        }
        for cgroups in
            ["", "0::/", "x", "0::/lxc", "0::/docker/short", "0::/user.slice/user-0.slice/user@0.service/app"]
        {
            assert_eq!(user("x", &[], cgroups).1, "kill 7", "{cgroups}");
        }
    }
}
