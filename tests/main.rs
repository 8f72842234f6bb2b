//! Black-box tests of the binary, and the rules of the house, as one binary.

mod blackbox {
    mod bad_input;
    mod cluster;
    mod crash;
    mod generate;
    mod house;
    mod judge;
    mod kafka;
    mod kafka_out;
    mod lake;
    mod live;
    mod lost_lake;
    mod memory;
    mod metrics;
    mod outage;
    mod pins;
    mod query;
    mod real_data;
    mod redefine;
    mod released;
    mod repair;
    mod replay;
    mod said;
    mod serve;
    mod settings;
    mod support;
}
