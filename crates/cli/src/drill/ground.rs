//! Where the brokers of a drill live: directories, and for some faults mounts or network namespaces of their own.
//! Everything is taken down again when the value is dropped.

use std::path::{Path, PathBuf};

use super::cut::{Cut, Firewall};
use super::fault::Ground;
use super::system::run;
use crate::failure::Outcome;

/// Size of each broker's ext4 image. Sparse: only what is written takes room.
const IMAGE_BYTES: u64 = 1 << 30;
/// Size of each broker's tmpfs.
const SMALL_DISK: &str = "size=256m";

/// A place for some brokers.
pub struct Land {
    ground: Ground,
    root: PathBuf,
    count: i32,
    /// Left in place for whoever looks into what went wrong.
    pub keep: bool,
    /// Networks of one machine are told apart by the process that made them.
    mark: u32,
}

impl Land {
    /// Prepares places for `count` brokers under `root`.
    pub fn prepare(ground: Ground, root: PathBuf, count: i32) -> Outcome<Self> {
        let land = Self { ground, root, count, keep: false, mark: std::process::id() % 50_000 };
        for id in 1..=count {
            std::fs::create_dir_all(land.home(id).join("disk"))?;
            match ground {
                Ground::Plain => {}
                Ground::Networks => land.make_network(id)?,
                Ground::Images => {
                    let image = land.image(id);
                    std::fs::File::create(&image)?.set_len(IMAGE_BYTES)?;
                    run("mkfs.ext4", &["-q", &text(&image)])?;
                    land.mount_image(id)?;
                }
                Ground::SmallDisks => {
                    run("mount", &["-t", "tmpfs", "-o", SMALL_DISK, "none", &text(&land.disk(id))])?;
                }
            }
            if ground == Ground::Images {
                land.new_boot_id(id, 0)?;
            }
        }
        Ok(land)
    }

    /// Address that broker `id` listens on.
    pub fn host(&self, id: i32) -> String {
        match self.ground {
            Ground::Networks => format!("{}.{id}", self.subnet()),
            _ => "127.0.0.1".into(),
        }
    }

    /// The broker's data directory.
    pub fn data_dir(&self, id: i32) -> PathBuf {
        self.disk(id).join("data")
    }

    /// The broker's log, never on the disk that a fault is about.
    pub fn log(&self, id: i32) -> PathBuf {
        self.home(id).join("broker.log")
    }

    /// What stands in front of the broker's command. All of it ends in `exec`: the process stays the same.
    pub fn wrapper(&self, id: i32) -> Vec<String> {
        match self.ground {
            Ground::Plain | Ground::SmallDisks => Vec::new(),
            Ground::Networks => ["ip", "netns", "exec", &self.namespace(id)].map(str::to_owned).into(),
            Ground::Images => {
                // The broker sees its own disk only: a second mount of another's would keep that one from going away.
                let others: Vec<String> =
                    (1..=self.count).filter(|it| *it != id).map(|it| text(&self.disk(it))).collect();
                let script = format!(
                    r#"umount --lazy {}; mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@""#,
                    others.iter().map(|it| format!("'{it}'")).collect::<Vec<_>>().join(" ")
                );
                let words = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", &script];
                words.iter().map(|it| (*it).to_owned()).chain([text(&self.boot_id(id))]).collect()
            }
        }
    }

    /// Drops every byte of the broker's disk that was not synced, as a loss of power does. The broker is dead.
    pub fn lose_power(&self, id: i32, round: usize) -> Outcome {
        let disk = text(&self.disk(id));
        // An aborted ext4 writes nothing any more: dirty pages and the running journal transaction are dropped.
        run("mount", &["-o", "remount,abort", &disk])?;
        run("umount", &[&disk])?;
        self.mount_image(id)?;
        self.new_boot_id(id, round + 1)
    }

    /// Stops or resumes every write to the broker's disk.
    pub fn freeze(&self, id: i32, frozen: bool) -> Outcome {
        run("fsfreeze", &[if frozen { "--freeze" } else { "--unfreeze" }, &text(&self.disk(id))])
    }

    /// Takes the last byte of the broker's disk, or gives all back.
    pub fn fill(&self, id: i32, full: bool) -> Outcome {
        let ballast = self.disk(id).join("ballast");
        if !full {
            return Ok(std::fs::remove_file(ballast)?);
        }
        let mut file = std::fs::File::create(ballast)?;
        let mut chunk: &[u8] = &[0; 1 << 20];
        while !chunk.is_empty() {
            match std::io::Write::write(&mut file, chunk) {
                Ok(0) | Err(_) => chunk = &chunk[..chunk.len() / 2],
                Ok(_) => {}
            }
        }
        Ok(())
    }

    /// What cuts the broker off from all others, or from `other` alone.
    pub fn firewall(&self, id: i32, cut: Cut, other: i32) -> Firewall {
        let others = (1..=self.count).filter(|it| *it != id && (cut != Cut::Link || *it == other));
        let hosts: Vec<String> = others.map(|it| self.host(it)).collect();
        Firewall::new(self.namespace(id), cut, &hosts)
    }

    /// The broker's namespace, on a bridge that has a namespace of its own: on a bridge of the machine, the machine's
    /// firewall would filter what brokers say to each other.
    fn make_network(&self, id: i32) -> Outcome {
        let (switch, space, subnet) = (self.namespace(0), self.namespace(id), self.subnet());
        let at_switch = |words: &[&str]| run("ip", &[&["-n", switch.as_str()], words].concat());
        if id == 1 {
            let (here, there) = (format!("mdh{}", self.mark), format!("mds{}", self.mark));
            run("ip", &["netns", "add", &switch])?;
            at_switch(&["link", "add", "bridge", "type", "bridge"])?;
            at_switch(&["link", "set", "bridge", "up"])?;
            run("ip", &["link", "add", &here, "type", "veth", "peer", "name", &there, "netns", &switch])?;
            at_switch(&["link", "set", &there, "master", "bridge", "up"])?;
            run("ip", &["addr", "add", &format!("{subnet}.254/24"), "dev", &here])?;
            run("ip", &["link", "set", &here, "up"])?;
        }
        let port = format!("port{id}");
        run("ip", &["netns", "add", &space])?;
        at_switch(&["link", "add", &port, "type", "veth", "peer", "name", "net", "netns", &space])?;
        at_switch(&["link", "set", &port, "master", "bridge", "up"])?;
        let within = |words: &[&str]| run("ip", &[&["-n", space.as_str()], words].concat());
        within(&["addr", "add", &format!("{subnet}.{id}/24"), "dev", "net"])?;
        within(&["link", "set", "net", "up"])?;
        within(&["link", "set", "lo", "up"])
    }

    fn mount_image(&self, id: i32) -> Outcome {
        let (image, disk) = (self.image(id), self.disk(id));
        // Without errors=remount-ro an abort might mean a panic of the kernel, by the image's defaults.
        run("mount", &["-o", "loop,errors=remount-ro", &text(&image), &text(&disk)])
    }

    fn new_boot_id(&self, id: i32, boots: usize) -> Outcome {
        let uuid = format!("{:08x}-{:04x}-4000-8000-{:012x}\n", self.mark, id, boots);
        Ok(std::fs::write(self.boot_id(id), uuid)?)
    }

    fn home(&self, id: i32) -> PathBuf {
        self.root.join(format!("broker-{id}"))
    }

    fn disk(&self, id: i32) -> PathBuf {
        self.home(id).join("disk")
    }

    fn image(&self, id: i32) -> PathBuf {
        self.home(id).join("image")
    }

    fn boot_id(&self, id: i32) -> PathBuf {
        self.home(id).join("boot-id")
    }

    fn namespace(&self, id: i32) -> String {
        format!("milena-drill-{}-{id}", self.mark)
    }

    fn subnet(&self) -> String {
        // Addresses for benchmarks of networks (RFC 2544): nobody's own.
        format!("198.18.{}", self.mark % 250)
    }
}

impl Drop for Land {
    fn drop(&mut self) {
        for id in 1..=self.count {
            let _ = match self.ground {
                Ground::Plain => Ok(()),
                Ground::Networks => run("ip", &["netns", "del", &self.namespace(id)]),
                Ground::Images | Ground::SmallDisks => run("umount", &["--lazy", &text(&self.disk(id))]),
            };
        }
        if self.ground == Ground::Networks {
            let _ = run("ip", &["netns", "del", &self.namespace(0)]);
        }
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.root);
        }
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
