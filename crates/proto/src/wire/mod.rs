//! Bytes <-> values: ZMTP 3.1 outside, the Mosaic envelope inside. Nothing here keeps a conversation's state.
