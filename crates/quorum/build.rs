//! Generates the messages of `proto/raft.proto`; the service is generated in crate `peer`.
//! `protox` compiles the file, so that no `protoc` has to be installed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = "../../proto";
    println!("cargo:rerun-if-changed={root}/raft.proto");
    let files = protox::compile(["raft.proto"], [root])?;
    prost_build::Config::new().bytes(["."]).compile_fds(files)?;
    Ok(())
}
