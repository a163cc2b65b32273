// Package program runs programs on the hosts of a topology and watches them: the
// real culvert, built as it is shipped, and servers that know nothing of it.
//
//	binary, err := program.Build(dir)
//	c := program.StartCulvert(t, program.Spec{Host: gateway, Binary: binary, Dir: t.TempDir(), Name: "gateway", Config: yaml})
//
// What a program says is part of a failed test's output. It ends with the test.
package program
