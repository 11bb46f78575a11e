//! The pages whose programs are run as documentation tests: README.md and those of the guide.

macro_rules! page {
    ($name:ident, $path:literal) => {
        #[doc = include_str!(concat!("../../../", $path))]
        struct $name;
    };
}

page!(Readme, "README.md");
page!(FirstProgram, "docs/guide/src/first-program.md");
page!(ManyWorkers, "docs/guide/src/many-workers.md");
page!(Arrays, "docs/guide/src/arrays.md");
page!(Errors, "docs/guide/src/errors.md");
page!(Objects, "docs/guide/src/objects.md");
page!(Machines, "docs/guide/src/machines.md");
page!(Operating, "docs/guide/src/operating.md");
page!(Python, "docs/guide/src/python.md");
page!(FromZeromq, "docs/guide/src/from-zeromq.md");
page!(FromMpi4py, "docs/guide/src/from-mpi4py.md");
page!(FromDask, "docs/guide/src/from-dask.md");
