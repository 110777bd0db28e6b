//! Generates the stored form from `proto/group.proto`, without a system protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proto = "../../proto/group.proto";
    println!("cargo:rerun-if-changed={proto}");
    let descriptors = protox::compile([proto], ["../../proto"])?;
    // Metadata and assignments are shared slices: a group's record is cloned on every rebalance.
    prost_build::Config::new().bytes(["."]).compile_fds(descriptors)?;
    Ok(())
}
