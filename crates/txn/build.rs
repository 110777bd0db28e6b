//! Generates the stored form from `proto/txn.proto`, without a system protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proto = "../../proto/txn.proto";
    println!("cargo:rerun-if-changed={proto}");
    let descriptors = protox::compile([proto], ["../../proto"])?;
    // A group's command inside a command is a slice of the entry it came in.
    prost_build::Config::new().bytes(["."]).compile_fds(descriptors)?;
    Ok(())
}
