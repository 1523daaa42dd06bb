#![no_main]
#![allow(dead_code, reason = "each target calls one of the trials")]

#[path = "../../tests/it/trial.rs"]
mod trial;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| trial::tables(std::time::Instant::now(), octets));
