//! Membership seen from outside: facts of one machine, and a cluster of them under any interleaving.

mod cluster;
mod facts;
