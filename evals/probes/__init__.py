"""Controlled training experiments: is what we see from outside what is inside?"""
