//! The conformance tables of the controller, in words.

mod adoption;
mod event;
mod history;
mod network;
mod pool_edit;
mod pool_rule;
mod quarantine;
mod request;
mod sharing;
mod world;
