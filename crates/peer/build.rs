//! Generates the gRPC services between brokers from `proto/`. The messages of the Raft service live in crate
//! `quorum`. `protox` compiles the files, so that no `protoc` has to be installed.

/// The files with a service, in `proto/`.
const SERVICES: &[&str] =
    &["raft.proto", "control.proto", "liveness.proto", "replica.proto", "transactions.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = "../../proto";
    for file in SERVICES {
        println!("cargo:rerun-if-changed={root}/{file}");
    }
    let files = protox::compile(SERVICES, [root])?;
    tonic_prost_build::configure()
        .bytes(".")
        .extern_path(".milena.raft", "::milena_quorum::message")
        .compile_fds(files)?;
    Ok(())
}
