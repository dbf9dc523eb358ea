/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The compiled program as bytes; EARLY_OBJECT is its file. */
	.section .rodata
	.balign 16
	.globl early_object, early_object_end
	.hidden early_object, early_object_end
early_object:
	.incbin EARLY_OBJECT
early_object_end:
	.section .note.GNU-stack, "", @progbits
