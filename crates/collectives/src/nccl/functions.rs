//! `functions!`: a table of the functions of a library that is loaded at run time, each by its name there.

/// Declares a struct of function pointers, and how to fill it from a library.
macro_rules! functions {
    ($(#[$doc:meta])* $table:ident { $($field:ident = $symbol:literal ($($argument:ty),*) -> $result:ty;)+ }) => {
        $(#[$doc])*
        struct $table {
            $($field: unsafe extern "C" fn($($argument),*) -> $result,)+
        }

        impl $table {
            /// Looks all functions up. The library stays loaded for as long as the process lives: it has threads of its own.
            ///
            /// # Safety
            /// In this library the names have the types that are declared.
            unsafe fn of(library: libloading::os::unix::Library) -> Result<&'static $table, String> {
                let table = $table {
                    $($field: {
                        // SAFETY: the type is the caller's promise.
                        let found = unsafe { library.get(concat!($symbol, "\0").as_bytes()) };
                        *found.map_err(|_| format!(concat!("it has no function ", $symbol, ": is it too old?")))?
                    },)+
                };
                std::mem::forget(library);
                Ok(Box::leak(Box::new(table)))
            }
        }
    };
}

pub(super) use functions;
