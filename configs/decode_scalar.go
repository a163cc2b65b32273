package configs

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// scalarValue reads a value for a field that is no message.
func (d *decoder) scalarValue(n *node, fd protoreflect.FieldDescriptor, at *place) (protoreflect.Value, bool) {
	v, message, fix := readScalar(n, fd)
	if message != "" {
		d.fail(at, message, fix)
		return protoreflect.Value{}, false
	}
	if fd.Kind() == protoreflect.EnumKind {
		d.deprecatedValue(fd.Enum(), v.Enum(), at)
	}
	return v, true
}

func readScalar(n *node, fd protoreflect.FieldDescriptor) (v protoreflect.Value, message, fix string) {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		b, message, fix := readBool(n)
		return protoreflect.ValueOfBool(b), message, fix
	case protoreflect.StringKind:
		s, message, fix := readString(n)
		return protoreflect.ValueOfString(s), message, fix
	case protoreflect.BytesKind:
		b, message, fix := readBytes(n)
		return protoreflect.ValueOfBytes(b), message, fix
	case protoreflect.EnumKind:
		e, message, fix := readEnum(n, fd.Enum())
		return protoreflect.ValueOfEnum(e), message, fix
	case protoreflect.FloatKind:
		f, message := readFloat(n, 32)
		return protoreflect.ValueOfFloat32(float32(f)), message, ""
	case protoreflect.DoubleKind:
		f, message := readFloat(n, 64)
		return protoreflect.ValueOfFloat64(f), message, ""
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		i, message := readInt(n, 32)
		return protoreflect.ValueOfInt32(int32(i)), message, ""
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		i, message := readInt(n, 64)
		return protoreflect.ValueOfInt64(i), message, ""
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		u, message := readUint(n, 32)
		return protoreflect.ValueOfUint32(uint32(u)), message, ""
	default: // uint64, fixed64; groups do not exist in proto3
		u, message := readUint(n, 64)
		return protoreflect.ValueOfUint64(u), message, ""
	}
}

func readBool(n *node) (value bool, message, fix string) {
	if n.kind == kindBool {
		return n.text == "true", "", ""
	}
	// Quoted, as templates like to leave it.
	if n.kind == kindString && (n.text == "true" || n.text == "false") {
		return n.text == "true", "", ""
	}
	return false, "wants true or false, got " + n.String(), ""
}

// readString takes strings only, as Envoy does: what YAML reads as a number or
// a boolean is not turned back into the text it may once have been.
func readString(n *node) (value, message, fix string) {
	switch n.kind {
	case kindString:
		return n.text, "", ""
	case kindInt, kindNumber, kindBool:
		return "", "wants a string, got " + n.String(), "quote it: " + strconv.Quote(n.raw)
	}
	return "", "wants a string, got " + n.String(), ""
}

// readBytes reads base64, of either alphabet, padded or not.
func readBytes(n *node) (value []byte, message, fix string) {
	text, ok := n.scalar()
	if !ok {
		return nil, "wants bytes in base64, got " + n.String(), ""
	}
	if n.kind == kindInt {
		text = n.raw // digits are base64 too
	}
	plain := strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(text), "=")
	b, err := base64.RawStdEncoding.DecodeString(plain)
	if err != nil {
		return nil, "wants bytes in base64, got " + n.String(), "encode it: printf %s … | base64"
	}
	return b, "", ""
}

// readEnum takes names in any case, and numbers.
func readEnum(n *node, ed protoreflect.EnumDescriptor) (value protoreflect.EnumNumber, message, fix string) {
	values := ed.Values()
	switch n.kind {
	case kindString, kindBool: // a value may be called ON
		name := strings.ReplaceAll(n.raw, "-", "_")
		if v := values.ByName(protoreflect.Name(name)); v != nil {
			return v.Number(), "", ""
		}
		for i := range values.Len() {
			if v := values.Get(i); strings.EqualFold(string(v.Name()), name) {
				return v.Number(), "", ""
			}
		}
	case kindInt, kindNumber:
		i, message := readInt(n, 32)
		return protoreflect.EnumNumber(i), message, ""
	default:
		return 0, fmt.Sprintf("wants a value of %s, got %s", ed.FullName(), n), ""
	}
	names := make([]string, 0, values.Len())
	for i := range values.Len() {
		names = append(names, string(values.Get(i).Name()))
	}
	if near := nearest(strings.ToUpper(n.raw), names); near != "" {
		fix = "did you mean " + near + "?"
	} else if len(names) <= 12 {
		fix = "one of " + strings.Join(names, ", ")
	}
	return 0, fmt.Sprintf("%s has no value %s", ed.FullName(), strings.TrimPrefix(n.String(), "the string ")), fix
}

// whole reads a number without a fraction, in JSON's spellings 1, 1.0 and 1e0,
// and the octal of YAML 1.2, which file modes are written in.
func whole(text string) (digits string, ok bool) {
	if octal, is := strings.CutPrefix(text, "0o"); is {
		u, err := strconv.ParseUint(octal, 8, 64)
		return strconv.FormatUint(u, 10), err == nil
	}
	if !strings.ContainsAny(text, ".eE") || strings.ContainsAny(text, "xX") {
		return text, true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) >= 1<<63 {
		return "", false
	}
	return strconv.FormatFloat(f, 'f', 0, 64), true
}

func readInt(n *node, bits int) (value int64, message string) {
	text, ok := n.scalar()
	digits, isWhole := whole(text)
	if !ok || !isWhole {
		return 0, "wants a whole number, got " + n.String()
	}
	i, err := strconv.ParseInt(digits, 10, bits)
	return i, numberProblem(err, n, fmt.Sprintf("%d to %d", int64(math.MinInt64)>>(64-bits), int64(math.MaxInt64)>>(64-bits)))
}

func readUint(n *node, bits int) (value uint64, message string) {
	text, ok := n.scalar()
	digits, isWhole := whole(text)
	if !ok || !isWhole {
		return 0, "wants a whole number, got " + n.String()
	}
	u, err := strconv.ParseUint(digits, 10, bits)
	limits := fmt.Sprintf("0 to %d", uint64(math.MaxUint64)>>(64-bits))
	if err != nil && strings.HasPrefix(digits, "-") {
		if _, isNumber := strconv.ParseFloat(digits, 64); isNumber == nil {
			return 0, n.raw + " is out of range: " + limits
		}
	}
	return u, numberProblem(err, n, limits)
}

func readFloat(n *node, bits int) (value float64, message string) {
	text, ok := n.scalar()
	if !ok {
		return 0, "wants a number, got " + n.String()
	}
	switch text {
	case "NaN", "Infinity", "-Infinity":
	default:
		// ParseFloat knows further names and hexadecimal fractions.
		if strings.ContainsAny(text, "xXiInN_") {
			return 0, "wants a number, got " + n.String()
		}
	}
	f, err := strconv.ParseFloat(text, bits)
	return f, numberProblem(err, n, "a float of "+strconv.Itoa(bits)+" bits")
}

// numberProblem words an error of strconv.
func numberProblem(err error, n *node, limits string) string {
	switch {
	case err == nil:
		return ""
	case strings.HasSuffix(err.Error(), strconv.ErrRange.Error()):
		return n.raw + " is out of range: " + limits
	}
	return "wants a number, got " + n.String()
}
