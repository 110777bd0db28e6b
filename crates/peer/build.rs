//! Generates the Raft service of `proto/raft.proto`; its messages live in crate `quorum`.
//! `protox` compiles the file, so that no `protoc` has to be installed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = "../../proto";
    println!("cargo:rerun-if-changed={root}/raft.proto");
    let files = protox::compile(["raft.proto"], [root])?;
    tonic_prost_build::configure()
        .extern_path(".milena.raft", "::milena_quorum::message")
        .compile_fds(files)?;
    Ok(())
}
