//! Generates the messages of `proto/metadata.proto`; `protox` compiles it, so that no `protoc` has to be installed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = "../../proto";
    println!("cargo:rerun-if-changed={root}/metadata.proto");
    let files = protox::compile(["metadata.proto"], [root])?;
    // Maps in key order: equal states have equal bytes on every node.
    prost_build::Config::new().btree_map(["."]).compile_fds(files)?;
    Ok(())
}
