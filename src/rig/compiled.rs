//! Programs that are compiled once, however many devices they are loaded on.

use std::cell::RefCell;
use std::rc::Rc;

use super::Function;
use crate::compile::{CompileError, Program};

/// Programs by the functions that they are of, each compiled when it is first asked for. They are the same for every
/// engine: what was measured on one device is loaded on another as it is. Clones share them.
#[derive(Clone, Default)]
pub struct Compiled {
    kept: Rc<RefCell<Vec<Kept>>>,
}

struct Kept {
    function: Function,
    program: Rc<Program>,
}

impl Compiled {
    /// The program of a function.
    pub fn program(&self, function: &Function) -> Result<Rc<Program>, CompileError> {
        if let Some(known) = self.kept.borrow().iter().find(|kept| kept.function.same(function)) {
            return Ok(known.program.clone());
        }
        let program = Rc::new(function.compile_with(|part| self.program(part))?);
        self.kept.borrow_mut().push(Kept { function: function.clone(), program: program.clone() });
        Ok(program)
    }

    /// The names of all that was compiled, in that order.
    pub fn names(&self) -> Vec<&'static str> {
        self.kept.borrow().iter().map(|kept| kept.function.name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::DType;

    fn scaled(name: &'static str, factor: f64) -> Function {
        let mut f = Function::new(name);
        let x = f.graph.input("x", &[3], DType::F32);
        let factor = f.graph.full(&[3], factor);
        let y = f.graph.mul(x, factor);
        f.output("y", y);
        f
    }

    #[test]
    fn what_computes_the_same_is_compiled_once() {
        let compiled = Compiled::default();
        let first = compiled.program(&scaled("f", 2.0)).unwrap();
        let again = compiled.clone().program(&scaled("f", 2.0)).unwrap();
        assert!(Rc::ptr_eq(&first, &again));
        compiled.program(&scaled("f", 3.0)).unwrap();
        compiled.program(&scaled("g", 2.0)).unwrap();
        assert_eq!(compiled.names(), ["f", "f", "g"]);
    }
}
